-- Values at the edges of every type: row i holds the i-th value of each column.
CREATE SCHEMA ext;
CREATE SCHEMA val;
CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION ltree SCHEMA ext;
CREATE EXTENSION cube SCHEMA ext;
CREATE EXTENSION seg SCHEMA ext;
CREATE EXTENSION isn SCHEMA ext;
CREATE EXTENSION lo SCHEMA ext;
CREATE EXTENSION intarray SCHEMA ext;

-- Types whose binary form means the same in every database.
CREATE TABLE val.builtin (
  id int PRIMARY KEY,
  i2 smallint, i4 int, i8 bigint, num numeric, num_scaled numeric(1000, 500), num_rounded numeric(3, -5), f4 real, f8 double precision, cash money,
  c1 "char", c char(7), vc varchar(100), t text, n name, b bytea,
  d date, ts timestamp, tstz timestamptz, ts0 timestamp(0), tm time, tmtz timetz, iv interval, iv_ym interval year to month, iv_s interval second(3),
  bool boolean, pt point, ln line, ls lseg, bx box, pa path, po polygon, ci circle,
  ip inet, net cidr, mac macaddr, mac8 macaddr8, bi bit(9), vb bit varying,
  tsv tsvector, tsq tsquery, u uuid, x xml, j json, jb jsonb, jp jsonpath,
  o oid, ov oidvector, iv2 int2vector, xi xid, xi8 xid8, ce cid, ti tid, lsn pg_lsn, snap txid_snapshot, snap2 pg_snapshot, cur refcursor,
  r4 int4range, r8 int8range, rn numrange, rts tsrange, rtstz tstzrange, rd daterange,
  m4 int4multirange, m8 int8multirange, mn nummultirange, mts tsmultirange, mtstz tstzmultirange, md datemultirange
);
INSERT INTO val.builtin (id) SELECT generate_series(1, 24);
CREATE FUNCTION val.put(tab regclass, col name, VARIADIC vals text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE i int;
BEGIN
  FOR i IN 1 .. array_length(vals, 1) LOOP
    EXECUTE format('UPDATE %s SET %I = %L WHERE id = %s', tab, col, vals[i], i);
  END LOOP;
END $$;
SELECT val.put('val.builtin', 'i2', '-32768', '32767', '0'),
  val.put('val.builtin', 'i4', '-2147483648', '2147483647', '0'),
  val.put('val.builtin', 'i8', '-9223372036854775808', '9223372036854775807', '0'),
  val.put('val.builtin', 'num', 'NaN', 'Infinity', '-Infinity', '-0.00', '0.000', '1e131071', '-1e-16383', '12345678901234567890.12345678901234567890', '100', '100.0', '1e400',
    repeat('9', 131072) || '.' || repeat('1', 16383)),
  val.put('val.builtin', 'num_scaled', '1e499', '-1e-500', '0'),
  val.put('val.builtin', 'num_rounded', '12345678', '-99900000'),
  val.put('val.builtin', 'f4', 'NaN', 'Infinity', '-Infinity', '-0', '1.4e-45', '3.4028235e38', '0.1', '16777217', '-1.1754944e-38'),
  val.put('val.builtin', 'f8', 'NaN', 'Infinity', '-Infinity', '-0', '4.9e-324', '1.7976931348623157e308', '0.1', '0.30000000000000004', '1e23', '9007199254740993'),
  val.put('val.builtin', 'cash', '-92233720368547758.08', '92233720368547758.07', '0', '-0.01'),
  val.put('val.builtin', 'c1', '', 'a', '\', E'\n', ''''),
  val.put('val.builtin', 'c', '', 'a', 'äöü', '   a', '😀', '\N'),
  val.put('val.builtin', 'vc', '', '\N', '\.', '\\', E'\t', E'\r\n', 'NULL', '{}', ' '),
  val.put('val.builtin', 't', '', '\N', '\.', E'\\\n', E'\t\b\f\v\r\n\x01\x1f\x7f', 'NULL', '"', '''', '$$', '😀🏴‍☠️é' || U&'e\0301', U&'\FFFF\+10FFFF\FEFF', repeat('long ', 300000), '\x41', E'\u2028', E'\\.\n', '%s %d {} ; -- /*'),
  val.put('val.builtin', 'n', '', repeat('ä', 31), 'Qu"ote'),
  val.put('val.builtin', 'b', '', '\x00', '\x0001ff5c', '\x5c', '\x' || repeat('00ff27', 400000)),
  val.put('val.builtin', 'd', 'infinity', '-infinity', '4713-01-01 BC', '5874897-12-31', '0001-12-31 BC', '0001-01-01', '2000-02-29'),
  val.put('val.builtin', 'ts', 'infinity', '-infinity', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999', '0001-12-31 23:59:59.999999 BC', 'epoch', '1999-12-31 24:00:00'),
  val.put('val.builtin', 'tstz', 'infinity', '-infinity', '4713-01-02 00:00:00+00 BC', '294276-12-30 23:59:59.999999+00', '1883-11-18 12:03:57-04:56:02', '2024-10-27 01:30:00+00', '2024-10-27 00:30:00+00', '0001-06-01 00:00+00 BC'),
  val.put('val.builtin', 'ts0', '2001-02-03 04:05:06.7'),
  val.put('val.builtin', 'tm', '24:00:00', '00:00:00', '23:59:59.999999', '00:00:00.000001'),
  val.put('val.builtin', 'tmtz', '24:00:00-15:59:59', '00:00:00+15:59:59', '12:34:56.789-03:30', '00:00+00'),
  val.put('val.builtin', 'iv', '178000000 years', '-178000000 years', '2147483647 days', '-1 mons +2 days -3:04:05.000006', '1 year -1 day', '0', '2562047788:00:54.775807', '-2562047788:00:54.775807', '1 mon -1 day 00:00:00.000001', '-00:00:00.5'),
  val.put('val.builtin', 'iv_ym', '1-2', '-1-2'), val.put('val.builtin', 'iv_s', '1.2345', '-0.001'),
  val.put('val.builtin', 'bool', 't', 'f'),
  val.put('val.builtin', 'pt', '(NaN,Infinity)', '(-0,-Infinity)', '(1e-300,1e300)', '(0.1,0.2)'),
  val.put('val.builtin', 'ln', '{1,-1,0}', '{0.1,0.2,1e-200}'), val.put('val.builtin', 'ls', '[(1,2),(3,4)]', '[(NaN,0),(0,-0)]'),
  val.put('val.builtin', 'bx', '(1,1),(0,0)', '(Infinity,0.1),(-Infinity,-0)'), val.put('val.builtin', 'pa', '[(1,2),(3,4)]', '((1,2),(3,4))', '[(0,0)]'),
  val.put('val.builtin', 'po', '((0,0),(1,1),(0.1,1e99))'), val.put('val.builtin', 'ci', '<(0,0),0>', '<(1,2),Infinity>', '<(NaN,1),3>'),
  val.put('val.builtin', 'ip', '::', '::ffff:1.2.3.4/96', '10.1.2.3/8', '255.255.255.255', '0.0.0.0/0', 'fe80::1/64'),
  val.put('val.builtin', 'net', '::/0', '10.0.0.0/8', '1.2.3.4/32', '2001:db8::/32'),
  val.put('val.builtin', 'mac', '00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff'), val.put('val.builtin', 'mac8', '00:00:00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff:ff:ff'),
  val.put('val.builtin', 'bi', '000000000', '111111111', '101010101'), val.put('val.builtin', 'vb', '', '1', repeat('10', 5000)),
  val.put('val.builtin', 'tsv', '', 'a:1A,2B,3C,4 ''it''''s'':16383 ''back\\slash'':7', '''  '' ''"'' '':'' ''a,b'':1'), val.put('val.builtin', 'tsq', '', 'a & !(b | c) <3> d:*AB', '''it''''s'' <-> ''\\\\''', '!!a'),
  val.put('val.builtin', 'u', '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
  val.put('val.builtin', 'x', '', 'text', '<a/><b/>', '<?xml version="1.0"?><a b="&lt;é😀">c<![CDATA[<>]]></a>', E'  <a>\n\t</a>  ', '<!DOCTYPE a><a/>', '<a xmlns:x="y"/><!-- -->'),
  val.put('val.builtin', 'j', 'null', '{"a" :  1 , "a":2,	"\u0000":3}', '"\ud83d\ude00"', ' [ ] ', '1e-99999', '"\u00e4\\\"\/"', '1.000', E'\n{\n}\n'),
  val.put('val.builtin', 'jb', 'null', '{"b":1,"a":[{},[],"",null,true,-0]}', '1e131071', '1.000', '"\ud83d\ude00\u001f"', '-1E-1000', '"\\N"', '{"":{"":""}}'),
  val.put('val.builtin', 'jp', '$', 'strict $.a[*] ? (@.b > 1 && @.c like_regex "^x\\d" flag "i").type()', '$."a b"[last to 3]', '$.* ? (exists (@.x))'),
  val.put('val.builtin', 'o', '0', '4294967295'), val.put('val.builtin', 'ov', '', '1 4294967295'), val.put('val.builtin', 'iv2', '', '-32768 32767'),
  val.put('val.builtin', 'xi', '0', '4294967295'), val.put('val.builtin', 'xi8', '0', '18446744073709551615'), val.put('val.builtin', 'ce', '4294967295'), val.put('val.builtin', 'ti', '(0,0)', '(4294967295,65535)'),
  val.put('val.builtin', 'lsn', '0/0', 'FFFFFFFF/FFFFFFFF'), val.put('val.builtin', 'snap', '10:20:10,14,15', '1:1:'), val.put('val.builtin', 'snap2', '10:20:10,14,15', '1:1:'), val.put('val.builtin', 'cur', '', 'a "cursor"'),
  val.put('val.builtin', 'r4', 'empty', '(,)', '[-2147483648,2147483647)', '(,5)', '[5,)'), val.put('val.builtin', 'r8', 'empty', '[-9223372036854775808,9223372036854775807)'),
  val.put('val.builtin', 'rn', 'empty', '(,)', '[NaN,NaN]', '[-Infinity,Infinity]', '(1.00,1.000001]', '[1e-300,1e300)'), val.put('val.builtin', 'rts', 'empty', '[-infinity,infinity]', '["0001-01-01 00:00:00 BC","294276-12-31 23:59:59.999999")'),
  val.put('val.builtin', 'rtstz', 'empty', '[-infinity,infinity)', '(,"2024-10-27 01:30:00+00"]'), val.put('val.builtin', 'rd', 'empty', '[-infinity,infinity]', '[4713-01-01 BC,5874897-12-30)'),
  val.put('val.builtin', 'm4', '{}', '{(,)}', '{[1,2),[5,)}'), val.put('val.builtin', 'm8', '{}', '{[1,2),[5,)}'), val.put('val.builtin', 'mn', '{}', '{(,1.0),[2.50,NaN]}'), val.put('val.builtin', 'mts', '{}', '{[-infinity,"2000-01-01 00:00:00"),["2001-01-01 00:00:00",infinity]}'),
  val.put('val.builtin', 'mtstz', '{}', '{(,"2000-01-01 00:00:00+00")}'), val.put('val.builtin', 'md', '{}', '{[2000-01-01,2000-01-02),[2001-01-01,)}');

-- Arrays of them, of every shape.
CREATE TABLE val.arrays (
  id int PRIMARY KEY, i4 int[], t text[], b bytea[], f8 float8[], num numeric[], tstz timestamptz[], iv interval[], j json[], x xml[], bx box[], pt point[],
  r tstzrange[], c "char"[], n name[], bool boolean[], u uuid[], vb bit varying[], tsv tsvector[], m nummultirange[], o oidvector[], ch char(3)[], cash money[]
);
INSERT INTO val.arrays (id) SELECT generate_series(1, 9);
SELECT val.put('val.arrays', 'i4', '{}', '{NULL}', '[0:1]={1,2}', '[-2:-1][3:4]={{1,NULL},{3,4}}', '{{{{{{1}}}}}}', '[2147483645:2147483646]={1,2}'),
  val.put('val.arrays', 't', '{}', '{NULL,"NULL","null","","\\N","\\.","{}","a,b","\"","\\","''"," ","é😀"}', E'{"\\t","\n","\\\\\n"}', '{{a,b},{c,d}}', '{"\\\\"}'),
  val.put('val.arrays', 'b', '{}', '{NULL,"\\x","\\x00","\\x5c22ff"}'), val.put('val.arrays', 'f8', '{NaN,-0,Infinity,-Infinity,4.9e-324,0.1}'), val.put('val.arrays', 'num', '{NaN,-0.00,1e1000,Infinity}'),
  val.put('val.arrays', 'tstz', '{infinity,-infinity,"4713-01-02 00:00:00+00 BC",NULL}'), val.put('val.arrays', 'iv', '{"-1 mons +2 days -03:04:05","1 year"}'), val.put('val.arrays', 'j', '{"{\"a\" :  [1,\"x,\"]}","null",NULL}'),
  val.put('val.arrays', 'x', '{"<a b=\"c\"/>","",NULL}'), val.put('val.arrays', 'bx', '{(1,1),(0,0);(3,3),(2,2)}', '{}', '{NULL}'), val.put('val.arrays', 'pt', '{"(1,2)","(NaN,-0)"}'),
  val.put('val.arrays', 'r', '{empty,"(,)","[\"2000-01-01 00:00:00+00\",infinity]",NULL}'), val.put('val.arrays', 'c', '{a,"\"","\\",NULL,"{"}'), val.put('val.arrays', 'n', '{"",a,"b c"}'),
  val.put('val.arrays', 'bool', '{t,f,NULL}'), val.put('val.arrays', 'u', '{00000000-0000-0000-0000-000000000000}'), val.put('val.arrays', 'vb', '{101,"",1}'), val.put('val.arrays', 'tsv', '{"''a'':1A ''it''''s''",""}'),
  val.put('val.arrays', 'm', '{"{}","{[1,2),[3.0,)}"}'), val.put('val.arrays', 'o', '{"1 2",""}'), val.put('val.arrays', 'ch', '{a,"ab ",NULL}'), val.put('val.arrays', 'cash', '{"-$1.23","$92,233,720,368,547,758.07"}');

-- Types that mean something else in every database, or have no binary form.
CREATE TYPE val.mood AS ENUM ('sad', 'o,k', 'ha"ppy', 'it''s', '', '\N', 'NULL', '{x}', '(y)', 'ünï 😀');
CREATE TYPE val.pair AS (a int, "B b" text, c numeric[], d timestamptz);
CREATE TYPE val.deep AS (p val.pair, ps val.pair[], m val.mood, "none" text);
CREATE TYPE val.hollow AS ();
CREATE DOMAIN val.small AS int CHECK (VALUE < 100);
CREATE DOMAIN val.some AS int[] CHECK (array_length(VALUE, 1) IS NULL OR array_length(VALUE, 1) < 9);
CREATE DOMAIN val.couple AS val.pair;
CREATE DOMAIN val.of_domain AS val.small CHECK (VALUE <> 13);
CREATE TYPE val.textrange AS RANGE (subtype = text, collation = "C");
CREATE TYPE val.moodrange AS RANGE (subtype = val.mood);
CREATE TABLE val.own (
  id int PRIMARY KEY, m val.mood, ms val.mood[], p val.pair, ps val.pair[], dp val.deep, h val.hollow, sm val.small, sms val.small[], so val.some, sos val.some[], co val.couple, cos val.couple[],
  od val.of_domain, tr val.textrange, trs val.textrange[], tm val.textmultirange, mr val.moodrange, mm val.moodmultirange, row_type val.arrays, row_types val.arrays[],
  hs ext.hstore, hss ext.hstore[], ci ext.citext, cis ext.citext[], lt ext.ltree, lts ext.ltree[], lq ext.lquery, lx ext.ltxtquery, cu ext.cube, sg ext.seg, sgs ext.seg[], bn ext.isbn13, em ext.ean13, l ext.lo, qi ext.query_int
);
INSERT INTO val.own (id) SELECT generate_series(1, 12);
SELECT val.put('val.own', 'm', 'sad', 'o,k', 'ha"ppy', 'it''s', '', '\N', 'NULL', '{x}', '(y)', 'ünï 😀'), val.put('val.own', 'ms', '{}', '{sad,"o,k","ha\"ppy","","\\N","NULL",NULL,"{x}"}'),
  val.put('val.own', 'p', '(,,,)', '(1,"","{}",infinity)', '(2,"\\""(,)'' \\N é😀","{NULL,NaN,1e1000}","4713-01-02 00:00:00+00 BC")', '(2147483647,NULL,,)'),
  val.put('val.own', 'ps', '{}', '{NULL,"(,,,)","(1,\"x,\"\"y\"\"\\\\\\\\\",\"{1,NULL}\",)"}'), val.put('val.own', 'dp', '(,,,)', '("(1,""a b"",""{1}"",)","{""(2,,,)"",NULL}","o,k","")'), val.put('val.own', 'h', '()'),
  val.put('val.own', 'sm', '99', '-2147483648'), val.put('val.own', 'sms', '{1,NULL}', '{}'), val.put('val.own', 'so', '{}', '[5:6]={1,2}'), val.put('val.own', 'sos', '{"{1,2}","[0:0]={3}",NULL}'), val.put('val.own', 'co', '(1,x,,)', '(,,,)'), val.put('val.own', 'cos', '{"(1,x,,)",NULL}'),
  val.put('val.own', 'od', '12'), val.put('val.own', 'tr', 'empty', '(,)', '["a,\"","b\\\\)"]', '["",z)'), val.put('val.own', 'trs', '{empty,"[\"a b\",c)"}'), val.put('val.own', 'tm', '{}', '{[a,b),["c d",)}'), val.put('val.own', 'mr', '[sad,"o,k")', 'empty'), val.put('val.own', 'mm', '{[sad,"o,k"),["ha\"ppy",)}'),
  val.put('val.own', 'hs', '', '"a"=>NULL, "q\"u"=>"\\\\", ""=>"", "é"=>"😀", "NULL"=>"NULL"'), val.put('val.own', 'hss', '{"\"a\"=>\"b,c\"",NULL}'), val.put('val.own', 'ci', 'MiXed', ''), val.put('val.own', 'cis', '{A,"b c"}'),
  val.put('val.own', 'lt', '', 'Top.a_1.b'), val.put('val.own', 'lts', '{a.b,c}'), val.put('val.own', 'lq', 'Top.*{1,3}.!a|b@*'), val.put('val.own', 'lx', 'a@ & !b* | c%'), val.put('val.own', 'cu', '(1,2),(3,0.1)', '()', '(NaN,1e300)'),
  val.put('val.own', 'sg', '1.00 .. 2.0', '<5', '5(+-)0.3', '~7'), val.put('val.own', 'sgs', '{"1 .. 2",NULL}'), val.put('val.own', 'bn', '978-0-393-04002-9'), val.put('val.own', 'em', '9780393040029'), val.put('val.own', 'l', '0', '4294967295'), val.put('val.own', 'qi', '1&(2|!3)');
UPDATE val.own o SET row_type = a, row_types = ARRAY[a, NULL] FROM val.arrays a WHERE a.id = o.id;

CREATE TABLE val.regs (id int PRIMARY KEY, a regclass, b regproc, c regtype, d regnamespace, e regconfig, f regoperator, g regprocedure, h regdictionary, i regcollation, j regrole, k regoper, l regclass[], m aclitem, n aclitem[]);
INSERT INTO val.regs VALUES (1, 'val.own', 'version', 'val.pair', 'val', 'english', '+(int,int)', 'lower(text)', 'simple', '"C"', 'postgres', 'pg_catalog.||/', '{val.own,pg_class,NULL}', '=r/postgres', '{postgres=arw*/postgres,=/postgres}'),
  (2, 'pg_class', 'now', 'int[]', 'pg_catalog', 'german', '-(NONE,int)', 'now()', 'german_stem', '"de-x-icu"', 'pg_monitor', '|/', '{}', NULL, '{}');
INSERT INTO val.regs (id) VALUES (3);
UPDATE val.regs SET (a, b, c, d) = ('-', '-', '-', '-'), (e, f, g, h, i, j, k) = ('-', '0', '-', '-', '-', '-', '0') WHERE id = 3;

-- The same without a key: rows are found by all their values, also of types that have no equality.
CREATE TABLE val.builtin_no_key AS TABLE val.builtin;
ALTER TABLE val.builtin_no_key REPLICA IDENTITY FULL;
INSERT INTO val.builtin_no_key TABLE val.builtin; -- every row twice
CREATE TABLE val.own_no_key AS TABLE val.own;
ALTER TABLE val.own_no_key REPLICA IDENTITY FULL;
CREATE TABLE val.arrays_no_key AS TABLE val.arrays;
ALTER TABLE val.arrays_no_key REPLICA IDENTITY FULL;
DROP FUNCTION val.put;
