package precheck_test

import (
	"pgsyncd/sync/precheck"
	"pgsyncd/sync/schema"
)

// choosing returns what chooses roles of the source, whose names begin with that of its database.
func choosing(suffixes ...string) func(*fixture) {
	return func(f *fixture) {
		f.in.Selection.Accounts = schema.Accounts{}
		for _, s := range suffixes {
			f.in.Selection.Accounts.Roles = append(f.in.Selection.Accounts.Roles, f.srcDB+s)
		}
	}
}

var accountDefects = map[string]defect{
	"a role that does not exist": {
		item: "chosen roles", outcome: precheck.Failed, found: "do not exist", adjust: choosing("_nobody"),
	},
	"a system role": {
		item: "chosen roles", outcome: precheck.Failed, found: `"postgres"`,
		adjust: func(f *fixture) { f.in.Selection.Accounts.Roles = []string{"postgres"} },
	},
	"a superuser is chosen": {
		item: "chosen roles", outcome: precheck.ToConfirm, found: `_boss"`,
		source: `CREATE ROLE {srcdb}_boss SUPERUSER`, dest: `ALTER ROLE {dst} CREATEROLE`, adjust: choosing("_boss"),
	},
	"no CREATEROLE": {
		item: "create roles", outcome: precheck.Failed, found: `_app"`, fix: "destination",
		source: `CREATE ROLE {srcdb}_app`, adjust: choosing("_app"),
	},
	"passwords cannot be read": {
		item: "passwords", outcome: precheck.ToConfirm, found: `_app"`, fix: "source",
		source: `CREATE ROLE {srcdb}_app LOGIN PASSWORD 'role-secret'`, dest: `ALTER ROLE {dst} CREATEROLE`, adjust: choosing("_app"),
	},
	"an owner exists and the user is no member": {
		item: "owners", outcome: precheck.Failed, found: `_owner"`, fix: "destination",
		source: `CREATE ROLE {srcdb}_owner; GRANT {srcdb}_owner TO {src}; CREATE TABLE theirs (id int PRIMARY KEY); ALTER TABLE theirs OWNER TO {srcdb}_owner`,
		dest:   `CREATE ROLE {srcdb}_owner; GRANT CREATE ON SCHEMA public TO {srcdb}_owner`, adjust: choosing("_owner"),
	},
	"an owner who may not create": {
		item: "owners in schema public", outcome: precheck.Failed, found: `_owner"`, fix: "destination",
		source: `CREATE ROLE {srcdb}_owner; GRANT {srcdb}_owner TO {src}; CREATE TABLE theirs (id int PRIMARY KEY); ALTER TABLE theirs OWNER TO {srcdb}_owner`,
		dest:   `ALTER ROLE {dst} CREATEROLE`, adjust: choosing("_owner"),
	},
	"a policy for a role that is missing": {
		item: "roles of policies", outcome: precheck.Failed, found: `p ON public.orders`, fix: "destination",
		source: `CREATE ROLE {srcdb}_reader; CREATE POLICY p ON orders TO {srcdb}_reader USING (true)`,
	},
	"default privileges": {
		item: "default privileges", outcome: precheck.ToConfirm, found: "TABLES IN SCHEMA", fix: "destination",
		dest: `ALTER DEFAULT PRIVILEGES FOR ROLE {dst} IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC`,
	},
}

var objectDefects = map[string]defect{
	"a type is missing in a database to be created": {
		item: "column types", outcome: precheck.Failed, found: `"public"."mood"`, dest: `ALTER ROLE {dst} CREATEDB`,
		source: `SET ROLE {src}; CREATE TYPE mood AS ENUM ('a'); CREATE TABLE m (id int PRIMARY KEY, x mood); RESET ROLE`,
		adjust: func(f *fixture) {
			f.in.Selection = tables("m")
			f.in.Destination, f.in.CreateDatabase = f.in.Destination.WithDatabase("not there "+f.dstDB), true
		},
	},
	"large objects that are not wanted": {
		item: "large objects", outcome: precheck.ToConfirm, found: "1 large object not synchronized", source: `SELECT lo_create(0)`,
	},
	"large objects that change": {
		item: "large objects", outcome: precheck.ToConfirm, found: "copied once", source: `SET ROLE {src}; SELECT lo_create(0); RESET ROLE`,
		adjust: func(f *fixture) { f.in.LargeObjects = true },
	},
	"large objects that may not be read": {
		item: "large objects", outcome: precheck.Failed, found: "may not read 1", source: `SELECT lo_create(0)`,
		adjust: func(f *fixture) { f.in.LargeObjects = true },
	},
	"large objects of the same number": {
		item: "large objects", outcome: precheck.Failed, found: "same numbers", source: `SET ROLE {src}; SELECT lo_create(987654); RESET ROLE`,
		dest: `SELECT lo_create(987654)`, adjust: func(f *fixture) { f.in.LargeObjects, f.in.Incremental = true, false },
	},
	"a trigger of the same name": {
		item: "same-named triggers", outcome: precheck.ToConfirm, found: `"g" ON "public"."orders"`,
		source: `SET ROLE {src}; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
			CREATE TRIGGER g BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f(); RESET ROLE`,
		dest: `SET ROLE {dst}; CREATE TABLE orders (id bigint PRIMARY KEY, code text, note varchar(20));
			CREATE FUNCTION h() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
			CREATE TRIGGER g BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION h(); RESET ROLE`,
		adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingUse },
	},
	"a deferrable key where rows may collide": {
		item: "deferrable keys", outcome: precheck.ToConfirm, found: "u of public.orders",
		source: `ALTER TABLE orders ADD CONSTRAINT u UNIQUE (note) DEFERRABLE`,
		adjust: func(f *fixture) { f.in.ExistingObjects = precheck.ExistingAppend },
	},
}
