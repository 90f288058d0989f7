//! [`labels!`](crate::labels::labels) declares a closed set of names once: the enum, its names in metrics, logs and
//! stores, and the list of all of them, which then cannot miss one. No I/O.

/// One of a closed set of names.
pub trait Label: Copy + PartialEq + 'static {
    /// Every one, in the order of its place.
    fn all() -> impl Iterator<Item = Self>;

    /// The name.
    fn name(self) -> &'static str;

    /// Its place among all, from 0.
    fn place(self) -> usize;

    /// The one of this name.
    #[must_use]
    fn parse(name: &str) -> Option<Self> {
        Self::all().find(|known| known.name() == name)
    }
}

/// The labels of one series: a name of one closed set, or of each of two.
pub trait Labels: Copy + PartialEq + 'static {
    /// Every combination, in the order of its place.
    fn all() -> impl Iterator<Item = Self>;

    /// The values, in the order in which the family names its labels.
    fn values(self) -> Vec<&'static str>;

    /// Its place among all, from 0.
    fn place(self) -> usize;
}

impl<L: Label> Labels for L {
    fn all() -> impl Iterator<Item = Self> {
        <L as Label>::all()
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.name()]
    }

    fn place(self) -> usize {
        Label::place(self)
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn all() -> impl Iterator<Item = Self> {
        A::all().flat_map(|a| B::all().map(move |b| (a, b)))
    }

    fn values(self) -> Vec<&'static str> {
        vec![self.0.name(), self.1.name()]
    }

    fn place(self) -> usize {
        self.0.place() * B::all().count() + self.1.place()
    }
}

/// Declares an enum, each variant with its name: `ALL`, `as_str`, [`Label`] and `Serialize`,
/// as the name, come with it.
///
/// ```
/// use offhook::labels::Label as _;
///
/// offhook::labels! {
///     /// How it ended.
///     pub enum End {
///         /// Well.
///         Well = "well",
///         /// Not well.
///         Badly = "badly",
///     }
/// }
/// assert_eq!(End::ALL.map(End::as_str), ["well", "badly"]);
/// assert_eq!(End::parse("badly"), Some(End::Badly));
/// ```
#[macro_export]
macro_rules! labels {
    (
        $(#[$about:meta])*
        $vis:vis enum $set:ident {
            $($(#[$what:meta])* $variant:ident = $name:literal),+ $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        $vis enum $set {
            $($(#[$what])* $variant),+
        }

        impl $set {
            /// Every one, in the order of the declaration.
            $vis const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name in metrics and logs, and wherever else it is written.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl ::serde::Serialize for $set {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl $crate::labels::Label for $set {
            fn all() -> impl Iterator<Item = Self> {
                Self::ALL.into_iter()
            }

            fn name(self) -> &'static str {
                self.as_str()
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}

pub use labels;

#[cfg(test)]
mod tests {
    use super::*;

    labels! {
        /// A fruit.
        enum Fruit {
            Apple = "apple",
            Pear = "pear",
        }
    }

    labels! {
        /// A size.
        enum Size {
            Small = "small",
            Middle = "middle",
            Large = "large",
        }
    }

    #[test]
    fn every_combination_stands_at_its_own_place() {
        let all: Vec<_> = <(Fruit, Size)>::all().collect();
        assert_eq!(all.len(), 6);
        assert!(all.iter().enumerate().all(|(place, labels)| labels.place() == place));
        assert_eq!((Fruit::Pear, Size::Middle).values(), ["pear", "middle"]);
    }

    #[test]
    fn a_name_is_found_again() {
        assert!(Size::ALL.into_iter().all(|size| Size::parse(size.as_str()) == Some(size)));
        assert_eq!((Fruit::parse("plum"), Fruit::ALL.len()), (None, 2));
    }
}
