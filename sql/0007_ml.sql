create table ml.model_versions (
    site_id text not null,
    target text not null,
    version text not null,
    decision text not null check (decision in ('promoted', 'kept', 'refused', 'rolled_back')),
    is_champion boolean not null default false,
    reason text not null,
    algorithm text,
    artifact bytea,
    artifact_sha256 text,
    features jsonb not null default '[]',
    metrics jsonb not null default '{}',
    libraries jsonb not null default '{}',
    trained_from timestamptz,
    trained_to timestamptz,
    history jsonb not null default '[]',
    created_at timestamptz not null default now(),
    primary key (site_id, target, version),
    check (not is_champion or artifact is not null)
);
comment on table ml.model_versions is 'Every model that was trained, with the decision about it and the reason.';
comment on column ml.model_versions.decision is
'promoted: became the champion; kept: the former one stays; refused: no grounds for scores; '
'rolled_back: a person took it out of use.';
comment on column ml.model_versions.history is 'Every decision about this version, oldest first: at, decision, reason.';
comment on column ml.model_versions.artifact is 'The fitted scikit-learn pipeline, saved with skops.';
create unique index model_versions_champion on ml.model_versions (site_id, target) where is_champion;

create table ml.propensity_scores (
    site_id text not null,
    user_id text not null,
    target text not null default 'conversion_7d',
    as_of timestamptz not null,
    score double precision not null check (score between 0 and 1),
    decile smallint not null check (decile between 1 and 10),
    band text not null check (band in ('hot', 'warm', 'cold')),
    reasons text [] not null default '{}',
    model_version text not null,
    scored_at timestamptz not null default now(),
    primary key (site_id, target, as_of, user_id)
);
comment on table ml.propensity_scores is
'Probability of each visitor active in the last 28 days to reach the target within 7 days of as_of.';
comment on column ml.propensity_scores.decile is '1 is the tenth of visitors with the highest scores.';
comment on column ml.propensity_scores.reasons is 'The strongest reasons for this visitor''s score, in words.';
-- the highest scores of a day, and counts by band
create index propensity_scores_best on ml.propensity_scores (site_id, target, as_of, band, score desc);
create index propensity_scores_visitor on ml.propensity_scores (site_id, user_id);

revoke all on all tables in schema ml from public, anon, authenticated;
grant select on all tables in schema ml to analyst, service_role;
