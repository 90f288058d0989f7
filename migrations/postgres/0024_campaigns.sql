-- Many notifications that are asked for at once. A recipient is planned here, with everything frozen that is sent, and
-- becomes a notification when it is handed over: shortly before its turn.
CREATE TABLE campaigns (
    id           text COLLATE "C" PRIMARY KEY,
    created_at   timestamptz NOT NULL,
    touched_at   timestamptz NOT NULL,
    token        text COLLATE "C" NOT NULL,
    name         text NOT NULL,
    purpose      text COLLATE "C" NOT NULL,
    on_unknown   text COLLATE "C" NOT NULL CHECK (on_unknown IN ('report', 'resend')),
    sender       text COLLATE "C" NOT NULL,
    route        text COLLATE "C",
    plan         text NOT NULL,
    body         text NOT NULL,
    subject      text,
    html         text,
    deadline     timestamptz,
    currency     text COLLATE "C",
    cost_cap     bigint,
    spent        bigint NOT NULL DEFAULT 0,
    recipients   bigint NOT NULL DEFAULT 0,
    doubles      bigint NOT NULL DEFAULT 0,
    invalid      bigint NOT NULL DEFAULT 0,
    handed_over  bigint NOT NULL DEFAULT 0,
    state        text COLLATE "C" NOT NULL CHECK (state IN ('planning', 'draft', 'running', 'paused', 'stopped', 'cancelled',
        'finished')),
    reason       text COLLATE "C",
    evidence     text,
    started_at   timestamptz,
    judged_from  timestamptz,
    trial_until  timestamptz,
    trial_over   boolean NOT NULL DEFAULT false,
    swept        text COLLATE "C" NOT NULL DEFAULT '',
    finished_at  timestamptz,
    CHECK (state NOT IN ('running', 'paused', 'stopped') OR started_at IS NOT NULL AND deadline IS NOT NULL),
    CHECK (state <> 'finished' OR finished_at IS NOT NULL)
);
CREATE INDEX campaigns_created ON campaigns (created_at, id);
CREATE INDEX campaigns_open ON campaigns (id) WHERE finished_at IS NULL;
COMMENT ON TABLE campaigns IS 'Many notifications that are asked for at once';
COMMENT ON COLUMN campaigns.touched_at IS 'When the list was last read on; one that is not is given up';
COMMENT ON COLUMN campaigns.plan IS 'The steps of each notification, as JSON';
COMMENT ON COLUMN campaigns.body IS 'The template of the text';
COMMENT ON COLUMN campaigns.deadline IS 'After this nothing is sent any more; NULL until it starts, unless it was asked for';
COMMENT ON COLUMN campaigns.cost_cap IS 'What it may cost at most, in millionths of the currency';
COMMENT ON COLUMN campaigns.spent IS 'What it has cost by the prices that are configured, in millionths of the currency';
COMMENT ON COLUMN campaigns.doubles IS 'Rows of the list that named a recipient again';
COMMENT ON COLUMN campaigns.invalid IS 'Rows of the list that cannot be sent to';
COMMENT ON COLUMN campaigns.handed_over IS 'Recipients that have become notifications';
COMMENT ON COLUMN campaigns.reason IS 'Why it has stopped itself';
COMMENT ON COLUMN campaigns.evidence IS 'What it has stopped itself for, as JSON';
COMMENT ON COLUMN campaigns.judged_from IS 'Outcomes before this do not stop it: a person has resumed it';
COMMENT ON COLUMN campaigns.trial_until IS 'When it goes on beyond its first recipients, if too few of them have an outcome before';
COMMENT ON COLUMN campaigns.swept IS 'The last notification that was cancelled with it; ~ once all are, and all recipients that waited';

CREATE TABLE recipients (
    campaign     text COLLATE "C" NOT NULL REFERENCES campaigns ON DELETE CASCADE,
    number       bigint NOT NULL CHECK (number > 0),
    key          text,
    "to"         text,
    to_hash      text COLLATE "C" NOT NULL,
    email        text,
    email_hash   text COLLATE "C",
    time_zone    text COLLATE "C",
    body         text,
    subject      text,
    html         text,
    costs        text NOT NULL,
    state        text COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'handed_over', 'refused', 'expired', 'cancelled')),
    due_at       timestamptz NOT NULL,
    held         text COLLATE "C",
    reason       text COLLATE "C",
    notification text COLLATE "C",
    settled_at   timestamptz,
    treated      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (campaign, number),
    CHECK ((state = 'handed_over') = (notification IS NOT NULL)),
    CHECK (state <> 'waiting' OR "to" IS NOT NULL AND body IS NOT NULL)
);
CREATE UNIQUE INDEX recipients_address ON recipients (to_hash, campaign);
CREATE INDEX recipients_email ON recipients (email_hash) WHERE email_hash IS NOT NULL;
CREATE INDEX recipients_waiting ON recipients (campaign, due_at, number) WHERE state = 'waiting';
CREATE INDEX recipients_untreated ON recipients (settled_at) WHERE state IN ('refused', 'expired', 'cancelled') AND NOT treated;
COMMENT ON TABLE recipients IS 'Who a campaign is to reach, each once; what is sent is with the notification once there is one';
COMMENT ON COLUMN recipients.number IS 'The line of the list';
COMMENT ON COLUMN recipients.key IS 'The application''s own name for it';
COMMENT ON COLUMN recipients.costs IS 'For each step its units and its price, in millionths of the currency, as JSON';
COMMENT ON COLUMN recipients.due_at IS 'When it is handed over at the earliest';
COMMENT ON COLUMN recipients.held IS 'The gate that said not now, until due_at';
COMMENT ON COLUMN recipients.reason IS 'The gate that said never';
COMMENT ON COLUMN recipients.treated IS 'Whether [privacy] was applied to one that ended before it was handed over';

CREATE TABLE invalid_rows (
    campaign text COLLATE "C" NOT NULL REFERENCES campaigns ON DELETE CASCADE,
    line     bigint NOT NULL,
    reason   text NOT NULL,
    PRIMARY KEY (campaign, line)
);
COMMENT ON TABLE invalid_rows IS 'Rows of the list of a campaign that cannot be sent to, and why; not what they said';

ALTER TABLE notifications ADD COLUMN campaign text COLLATE "C";
CREATE INDEX notifications_campaign ON notifications (campaign, settled_at, state) WHERE campaign IS NOT NULL;
COMMENT ON COLUMN notifications.campaign IS 'The campaign that asked for it; NULL if it was asked for alone';
ALTER TABLE attempts
    ADD COLUMN campaign text COLLATE "C",
    ADD COLUMN price bigint;
CREATE INDEX attempts_campaign ON attempts (campaign, state) WHERE campaign IS NOT NULL AND settled_at IS NULL;
COMMENT ON COLUMN attempts.price IS 'What it costs by the prices that are configured, in millionths of the currency';
ALTER TABLE steps ADD COLUMN price bigint;

-- Roles that were granted rights on events can do with these tables what they do: read, or store.
DO $$
DECLARE
    granted record;
    made text;
BEGIN
    FOR granted IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role,
               a.privilege_type AS privilege
        FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'events'::regclass AND a.grantee <> c.relowner AND a.privilege_type IN ('SELECT', 'INSERT')
    LOOP
        FOREACH made IN ARRAY ARRAY['campaigns', 'recipients', 'invalid_rows'] LOOP
            EXECUTE format('GRANT SELECT ON %s TO %s', made, granted.role);
            IF granted.privilege = 'INSERT' THEN
                EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO %s', made, granted.role);
            END IF;
        END LOOP;
    END LOOP;
END
$$;
