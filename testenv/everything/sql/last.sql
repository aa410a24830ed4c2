-- What would stand in the way of all that came before.
ALTER TABLE tab.no_key ENABLE ALWAYS TRIGGER always;
CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'CREATE TRIGGER') EXECUTE FUNCTION fun.on_ddl();
ALTER EVENT TRIGGER forbid ENABLE ALWAYS;
CREATE EVENT TRIGGER "Sql ""drop""" ON sql_drop EXECUTE FUNCTION fun.on_ddl();
ALTER EVENT TRIGGER "Sql ""drop""" DISABLE;
CREATE EVENT TRIGGER rewrite ON table_rewrite EXECUTE FUNCTION fun.on_ddl();
ALTER EVENT TRIGGER rewrite ENABLE REPLICA;
COMMENT ON EVENT TRIGGER forbid IS 'event trigger';
