-- Every value once more by INSERT, once more by UPDATE; rows without a key found by all their values.
DO $$
DECLARE
  t regclass;
  cols text;
BEGIN
  FOREACH t IN ARRAY '{val.builtin,val.arrays,val.own,val.regs}'::regclass[] LOOP
    SELECT string_agg(quote_ident(attname), ', ') INTO cols FROM pg_attribute WHERE attrelid = t AND attnum > 1 AND NOT attisdropped;
    EXECUTE format('INSERT INTO %s (id, %s) SELECT id + 100, %2$s FROM %1$s', t, cols);
    EXECUTE format('UPDATE %s t SET (%s) = (SELECT %2$s FROM %1$s u WHERE u.id = t.id + 1) WHERE id < 100', t, cols);
    EXECUTE format('UPDATE %s SET id = -id WHERE id IN (102, 103)', t);
    EXECUTE format('DELETE FROM %s WHERE id > 0 AND id %% 100 = 4', t);
  END LOOP;
  FOREACH t IN ARRAY '{val.builtin_no_key,val.arrays_no_key,val.own_no_key}'::regclass[] LOOP
    EXECUTE format('DELETE FROM %s WHERE ctid IN (SELECT min(ctid) FROM %1$s WHERE id <= 4 GROUP BY id)', t);
    EXECUTE format('UPDATE %s SET id = -id WHERE ctid IN (SELECT min(ctid) FROM %1$s WHERE id > 3 GROUP BY id)', t);
  END LOOP;
END $$;
