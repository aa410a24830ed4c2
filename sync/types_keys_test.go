package sync_test

import (
	"fmt"
	"strings"
	"testing"
)

// keyed are types of keys with four values, of which the first two are equal where the type has equal values that differ.
var keyed = []struct {
	columns string // of the key
	equal   bool   // the first two values are
	values  [4]string
}{
	{"k numeric", true, [4]string{"1.0", "1.00", "'NaN'", "-1e100"}},
	{"k float8", true, [4]string{"0", "'-0'", "'NaN'", "'-Infinity'"}},
	{"k float4", true, [4]string{"'-0'", "0", "0.1", "'1e-45'"}},
	{"k interval", true, [4]string{"'1 day'", "'24 hours'", "'-1 mon'", "'0'"}},
	{"k ext.citext", true, [4]string{"'Aa'", "'aA'", "''", "'ß'"}},
	{`k text COLLATE blind`, true, [4]string{"'Aa'", "'aA'", "''", "'x'"}},
	{"k jsonb", true, [4]string{"'1.0'", "'1.00'", "'{}'", `'{"a": [null]}'`}},
	{"k numeric[]", true, [4]string{"'{1.0}'", "'{1.00}'", "'{}'", "'{NULL}'"}},
	{"k numrange", true, [4]string{"'[1.0,2)'", "'[1.00,2.0)'", "'empty'", "'(,)'"}},
	{"k couple", true, [4]string{"'(1.0,Aa)'::couple", "'(1.00,Aa)'::couple", "'(,)'::couple", `'(1,"a,b")'::couple`}},
	{"k char(5)", false, [4]string{"'a'", "'b'", "''", "'é'"}},
	{"k text", false, [4]string{"'a'", "'A'", "''", `E'\\N\n'`}},
	{"k name", false, [4]string{"'a'", "'A'", "''", "repeat('x', 63)"}},
	{`k "char"`, false, [4]string{"'a'", "'A'", "''", `'\'`}},
	{"k bytea", false, [4]string{`'\x00'`, `'\x0000'`, `''`, `'\xff'`}},
	{"k uuid", false, [4]string{"md5('a')::uuid", "md5('b')::uuid", "md5('c')::uuid", "md5('d')::uuid"}},
	{"k timestamptz", false, [4]string{"'infinity'", "'-infinity'", "'4713-01-02 00:00+00 BC'", "'2024-10-27 01:30+01'"}},
	{"k date", false, [4]string{"'infinity'", "'-infinity'", "'0001-12-31 BC'", "'2024-02-29'"}},
	{"k time", false, [4]string{"'24:00'", "'00:00'", "'12:00'", "'23:59:59.999999'"}},
	{"k timetz", false, [4]string{"'24:00+01'", "'00:00-15:59'", "'12:00+00'", "'12:00+01'"}},
	{"k money", false, [4]string{"'1'", "'-1'", "'0'", "'1000000'"}},
	{"k inet", false, [4]string{"'10.0.0.1/8'", "'10.0.0.1'", "'::1'", "'0.0.0.0/0'"}},
	{"k macaddr8", false, [4]string{"'00:00:00:00:00:00:00:01'", "'ff:ff:ff:ff:ff:ff:ff:ff'", "'00:00:00:00:00:00:00:00'", "'08:00:2b:01:02:03:04:05'"}},
	{"k bit varying", false, [4]string{"B'1'", "B'10'", "B''", "B'01'"}},
	{"k oid", false, [4]string{"1", "4294967295", "0", "2147483648"}},
	{"k pg_lsn", false, [4]string{"'0/1'", "'FFFFFFFF/FFFFFFFF'", "'0/0'", "'1/0'"}},
	{"k xid8", false, [4]string{"'1'", "'18446744073709551615'", "'0'", "'2'"}},
	{"k tsvector", false, [4]string{"'a:1'", "'a:2'", "''", "'b'"}},
	{"k oidvector", false, [4]string{"'1'", "'1 2'", "''", "'3'"}},
	{"k mood", false, [4]string{"'sad'", "'o,k'", "''", "'ha\"ppy'"}},
	{"k mood[]", false, [4]string{"'{sad}'", "'{sad,NULL}'", "'{}'", "'{\"o,k\"}'"}},
	{"k small", false, [4]string{"1", "2", "-3", "4"}},
	{"k ext.ltree", false, [4]string{"'a'", "'A'", "''", "'a.b'"}},
	{"k ext.hstore", false, [4]string{"'a=>1'", "'a=>2'", "''", "'a=>NULL'"}},
	{"k ext.isbn13", false, [4]string{"'978-0-393-04002-9'", "'978-0-11-000222-4'", "'978-0-306-40615-7'", "'978-3-16-148410-0'"}},
	{"k int4multirange", false, [4]string{"'{[1,2)}'", "'{}'", "'{[1,2),[5,)}'", "'{(,)}'"}},
	{"k int, l ext.citext, m mood", false, [4]string{"1, 'a', 'sad'", "1, 'b', 'sad'", "2, '', ''", "1, 'a', 'o,k'"}},
}

// What is done to each table: {t} with the columns {columns} of its key {key}, and the values {0} to {3}.
const (
	keyedTable = `CREATE TABLE {t} (v int, w text, {columns}, PRIMARY KEY ({key})); ALTER TABLE {t} ALTER w SET STORAGE EXTERNAL;
		INSERT INTO {t} VALUES (1, repeat('w', 5000), {0});`
	keyedEqual = `UPDATE {t} SET ({key}) = ROW({1}); UPDATE {t} SET v = 2 WHERE ({key}) = ({0}); UPDATE {t} SET ({key}) = ROW({0}), w = w || 'x';
		DELETE FROM {t}; INSERT INTO {t} VALUES (3, 'anew', {1});`
	keyedDifferent = `INSERT INTO {t} VALUES (3, 'x', {1}); UPDATE {t} SET v = 4 WHERE ({key}) = ({1}); UPDATE {t} SET v = 5 WHERE ({key}) = ({0});`
	keyedAll       = `INSERT INTO {t} VALUES (6, 'z', {2}); UPDATE {t} SET ({key}) = ROW({3}), v = 7 WHERE v = 6; INSERT INTO {t} VALUES (8, NULL, {2});
		DELETE FROM {t} WHERE ({key}) = ({2});`
)

// Rows are found by keys of every type that can be one. Where two values are equal and yet not the same, the row gets the one
// that the source has.
func TestKeysOfEveryType(t *testing.T) {
	t.Parallel()
	ddl := `CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION ltree SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION isn SCHEMA ext;
		SET search_path = public, ext; CREATE TYPE mood AS ENUM ('sad', 'o,k', '', 'ha"ppy'); CREATE DOMAIN small AS int CHECK (VALUE < 9); CREATE TYPE couple AS (a numeric, b text);
		CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);`
	var change string
	for i, c := range keyed {
		var key []string
		for column := range strings.SplitSeq(c.columns, ", ") {
			name, _, _ := strings.Cut(column, " ")
			key = append(key, name)
		}
		of := strings.NewReplacer("{t}", fmt.Sprintf("t%d", i), "{columns}", c.columns, "{key}", strings.Join(key, ", "),
			"{0}", c.values[0], "{1}", c.values[1], "{2}", c.values[2], "{3}", c.values[3])
		ddl += of.Replace(keyedTable)
		if c.equal {
			change += of.Replace(keyedEqual)
		} else {
			change += of.Replace(keyedDifferent)
		}
		change += of.Replace(keyedAll)
	}
	for what, sql := range map[string]string{
		"one transaction":   change,
		"many transactions": "DO $do$ DECLARE s text; BEGIN FOREACH s IN ARRAY string_to_array($sql$" + change + "$sql$, ';') LOOP IF s <> '' THEN EXECUTE s; COMMIT; END IF; END LOOP; END $do$",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l := setup(t, ddl)
			l.start("")
			l.equal()
			l.source(sql)
			l.caughtUp()
			l.equal()
			l.want("conflicts", l.status("conflicts"), "0")
		})
	}
}
