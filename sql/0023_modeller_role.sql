-- The role of people who develop models. Like 0000, restoring a backup runs this file by itself.

do $$
begin
    if not exists (select from pg_roles where rolname = 'modeller') then
        create role modeller nologin;
    end if;
end
$$;
