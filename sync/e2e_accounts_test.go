package sync_test

import (
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// Chosen roles come first, what they own and may do with the structure, and who is a member of whom when the task is stopped.
func TestAccounts(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	owner, reader, boss := l.task+"_owner", l.task+"_reader", l.task+"_boss"
	l.source(strings.NewReplacer("OWNER_ROLE", owner, "READER", reader, "BOSS", boss).Replace(`
		CREATE ROLE OWNER_ROLE LOGIN PASSWORD 'x' CONNECTION LIMIT 7; CREATE ROLE READER; CREATE ROLE BOSS SUPERUSER; GRANT READER TO OWNER_ROLE;
		GRANT READER TO BOSS; ALTER TABLE item OWNER TO OWNER_ROLE; GRANT SELECT ON item TO READER; GRANT INSERT ON item TO BOSS`))
	l.start("ACCOUNTS (" + owner + ", " + reader + ")")
	l.want("owner", l.one(l.d, "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'item'"), owner)
	l.want("privileges", l.one(l.d, "SELECT has_table_privilege('"+reader+"', 'item', 'SELECT'), count(*) FROM pg_roles WHERE rolname = '"+boss+"'"), "t|0")
	l.want("attributes", l.one(l.d, "SELECT rolcanlogin, rolconnlimit FROM pg_roles WHERE rolname = '"+owner+"'"), "t|7")
	accounts := "SELECT role, synchronized FROM sync_accounts WHERE task = '%[1]s' ORDER BY 1"
	l.want("accounts", l.sql(accounts), owner+"|t\n"+reader+"|t")
	member := "SELECT pg_has_role('" + owner + "', '" + reader + "', 'MEMBER')"
	l.want("member before the stop", l.one(l.d, member), "f")
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	l.want("member", l.one(l.d, member), "t")
	l.want("accounts at the end", l.sql(accounts), owner+"|t\n"+reader+"|t")
	// Who exists already is left alone, and that is said.
	l.sql("DROP SYNC TASK %[1]s")
	l.destination("DROP TABLE item")
	l.create("MODE FULL ACCOUNTS (" + owner + ", " + reader + ")")
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("completed")
	l.want("accounts once more", l.sql(accounts), owner+"|f\n"+reader+"|f")
	l.contains(l.sql("SELECT remarks FROM sync_accounts WHERE task = '%[1]s' AND role = '"+owner+"'"), "exists in the destination")
	l.want("owner once more", l.one(l.d, "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'item'"), owner)
}

// A standby can be the source of a task without a stream: nothing is tried there that it refuses.
func TestStandbyAsSource(t *testing.T) {
	t.Parallel()
	primary := testenv.Start(t, testenv.Config{})
	standby := primary.StartStandby(t, testenv.Config{})
	_, dst := testenv.SharedPair(t)
	l := setupBetween(t, primary, dst, items)
	l.from = standby.ConnString(l.srcDB)
	s := standby.Connect(t, "postgres")
	l.eventually("the standby has the rows", func() bool {
		return l.one(s, "SELECT pg_last_wal_replay_lsn() >= '"+l.one(l.s, "SELECT pg_current_wal_lsn()")+"'") == "t"
	})
	l.create("MODE FULL ACCOUNTS ALL")
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("completed")
	l.equal()
}
