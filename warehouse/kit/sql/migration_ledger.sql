-- The ledger of migrations, as yoyo-migrations creates it (its internal schema version 2).
create schema if not exists ops;

create table if not exists ops.yoyo_lock (
    locked integer default 1,
    ctime timestamp,
    pid integer not null,
    primary key (locked)
);

create table if not exists ops._yoyo_log (
    id varchar(36),
    migration_hash varchar(64),
    migration_id varchar(255),
    operation varchar(10),
    username varchar(255),
    hostname varchar(255),
    comment varchar(255),
    created_at_utc timestamp,
    primary key (id)
);

create table if not exists ops._yoyo_version (
    version integer not null primary key,
    installed_at_utc timestamp
);

create table if not exists ops._yoyo_migration (
    migration_hash varchar(64),
    migration_id varchar(255),
    applied_at_utc timestamp,
    primary key (migration_hash)
);

insert into ops._yoyo_version (version, installed_at_utc)
values (2, clock_timestamp() at time zone 'utc')
on conflict do nothing;
