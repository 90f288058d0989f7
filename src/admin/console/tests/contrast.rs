//! Whether the console's colours can be read: the contrast that WCAG 2.1 asks for at level AA
//! (<https://www.w3.org/TR/WCAG21/#contrast-minimum>), in the light and in the dark.

const STYLE: &str = include_str!("../console.css");
/// Of text that is not large.
const LEAST: f64 = 4.5;

/// Both values of a colour that is declared as `--name: light-dark(#…, #…)`.
fn colour(name: &str) -> [[f64; 3]; 2] {
    let start = format!("--{name}: light-dark(");
    let (_, rest) = STYLE.split_once(&start).unwrap_or_else(|| panic!("no colour {name}"));
    let (pair, _) = rest.split_once(')').expect("it ends");
    let mut values = pair.split(", ").map(|value| {
        let channel = |at| u8::from_str_radix(&value[at..at + 2], 16).expect("#rrggbb");
        [1, 3, 5].map(|at| f64::from(channel(at)) / 255.0)
    });
    [(); 2].map(|()| values.next().expect("one for the light and one for the dark"))
}

/// Relative luminance.
fn luminance(colour: [f64; 3]) -> f64 {
    let linear = |channel: f64| match channel {
        dim if dim <= 0.03928 => dim / 12.92,
        bright => ((bright + 0.055) / 1.055).powf(2.4),
    };
    let [red, green, blue] = colour.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn black_on_white_has_the_contrast_that_the_definition_says() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
}

#[test]
fn every_text_stands_out_from_what_is_behind_it() {
    let texts = ["text", "soft", "link", "good", "odd", "bad"];
    let plain = texts.into_iter().flat_map(|text| [(text, "ground"), (text, "sheet")]);
    let tinted = ["good", "odd", "bad"].into_iter().flat_map(|word| {
        let ground = ["good-ground", "odd-ground", "bad-ground"];
        let ground = ground.into_iter().find(|ground| ground.starts_with(word)).expect("its own");
        [("text", ground), ("soft", ground), (word, ground)]
    });
    let buttons = [("ground", "link"), ("ground", "bad")];
    for (text, behind) in plain.chain(tinted).chain(buttons) {
        for (text_colour, behind_colour) in colour(text).into_iter().zip(colour(behind)) {
            let contrast = contrast(text_colour, behind_colour);
            assert!(contrast >= LEAST, "{text} on {behind}: {contrast:.2}");
        }
    }
}

#[test]
fn every_colour_that_a_status_can_have_is_there() {
    for word in ["good", "odd", "bad", "plain"] {
        assert!(STYLE.contains(&format!("\n.status.{word} {{ color: ")), "{word}");
    }
}
