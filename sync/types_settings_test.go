package sync_test

import (
	"testing"

	"pgsyncd/testenv"
	"pgsyncd/testenv/everything"
)

// hostile are settings of databases that change how values are written or read, or what a session may do and for how long.
// The second value is the destination's.
var hostile = [][3]string{
	{"datestyle", "German, DMY", "SQL, MDY"},
	{"intervalstyle", "sql_standard", "postgres_verbose"},
	{"timezone", "America/St_Johns", "Asia/Kathmandu"},
	{"timezone_abbreviations", "Australia", "India"},
	{"extra_float_digits", "-15", "0"},
	{"bytea_output", "escape", "hex"},
	{"xmlbinary", "hex", "base64"},
	{"xmloption", "document", "document"},
	{"search_path", `"nowhere", "$user"`, "val, ext, pg_catalog"},
	{"row_security", "off", "off"},
	{"standard_conforming_strings", "off", "off"},
	{"escape_string_warning", "on", "on"},
	{"backslash_quote", "off", "off"},
	{"array_nulls", "off", "off"},
	{"transform_null_equals", "on", "on"},
	{"quote_all_identifiers", "on", "on"},
	{"check_function_bodies", "on", "on"},
	{"client_encoding", "LATIN1", "WIN1252"},
	{"default_transaction_isolation", "serializable", "serializable"},
	{"default_transaction_read_only", "on", "on"},
	{"default_transaction_deferrable", "on", "on"},
	{"default_toast_compression", "lz4", "pglz"},
	{"default_table_access_method", "heap", "heap"},
	{"default_text_search_config", "pg_catalog.german", "pg_catalog.french"},
	{"session_replication_role", "local", "local"},
	{"statement_timeout", "2s", "2s"},
	{"lock_timeout", "2s", "2s"},
	{"idle_in_transaction_session_timeout", "2s", "2s"},
	{"idle_session_timeout", "2s", "2s"},
	{"client_min_messages", "error", "debug1"},
	{"synchronous_commit", "off", "off"},
	{"plan_cache_mode", "force_generic_plan", "force_generic_plan"},
	{"constraint_exclusion", "on", "on"},
	{"lo_compat_privileges", "on", "on"},
	{"gin_fuzzy_search_limit", "1", "1"},
	{"zero_damaged_pages", "off", "off"},
	{"synchronize_seqscans", "off", "on"},
}

// What databases are set to changes no value, and stops no task.
func TestValuesUnderSettings(t *testing.T) {
	t.Parallel()
	l := setup(t, "")
	if err := everything.CreateValues(t.Context(), l.s); err != nil {
		t.Fatal(err)
	}
	defer l.alterDatabases(func(int) []string { return []string{"RESET ALL"} }) // or they could not be dropped
	l.alterDatabases(func(side int) (changes []string) {
		for _, setting := range hostile {
			value := "'" + setting[1+side] + "'"
			if setting[0] == "search_path" || setting[0] == "datestyle" {
				value = setting[1+side] // a list
			}
			changes = append(changes, "SET "+setting[0]+" = "+value)
		}
		return changes
	})
	l.start("")
	l.exact()
	if err := everything.ChangeValues(t.Context(), l.s); err != nil {
		t.Fatal(err)
	}
	l.caughtUp()
	l.exact()
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
}

// alterDatabases makes changes of the source's database (side 0) and the destination's (side 1).
func (l *lab) alterDatabases(changes func(side int) []string) {
	l.Helper()
	for side, database := range []string{l.srcDB, l.dstDB} {
		for _, change := range changes(side) {
			[]*testenv.Cluster{l.src, l.dst}[side].Exec(l.T, "postgres", "ALTER DATABASE "+database+" "+change)
		}
	}
}
