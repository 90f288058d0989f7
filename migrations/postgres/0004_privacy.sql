COMMENT ON TABLE events IS 'Every callback of Twilio once, as it was signed, but for what [privacy] treats';
COMMENT ON COLUMN events.query IS 'The query of the callback URL, with identifiers of your own, but for what [privacy] treats';
COMMENT ON COLUMN events.body IS 'The parameters byte for byte, but for what [privacy] treats';
