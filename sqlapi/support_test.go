package sqlapi

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestSupported: what this version cannot do is refused before anything happens, and what is next to it is not.
func TestSupported(t *testing.T) {
	t.Parallel()
	const create = "CREATE SYNC TASK shop FROM 'x' TO 'y' "
	for sql, supports := range map[string]bool{
		create:                                    true,
		create + "MODE FULL":                      true,
		create + "MODE FULL AND INCREMENTAL":      true,
		create + "MODE INCREMENTAL":               true,
		create + "FOR ALL":                        true,
		create + "FOR ALL MAP (SCHEMA a AS b)":    true,
		create + "FOR ALL EXCEPT (TABLE a)":       true,
		create + "FOR (TABLE a, TABLE s.b)":       true,
		create + "FOR (TABLE a AS b)":             true,
		create + "FOR (TABLE a (x, y))":           true,
		create + "FOR (TABLE a WHERE (x > 1))":    true,
		create + "FOR (SCHEMA s)":                 true,
		create + "FOR (TABLES MATCHING 'a*')":     true,
		create + "FOR (VIEW v)":                   true,
		create + "FOR (MATERIALIZED VIEW v)":      true,
		create + "FOR (SEQUENCE v)":               true,
		create + "ACCOUNTS NONE":                  true,
		create + "ACCOUNTS ALL":                   true,
		create + "ACCOUNTS (joe)":                 true,
		create + "FLOW UNLIMITED":                 true,
		create + "FLOW LIMIT 5 MB PER SECOND":     true,
		create + "WITH (sync_ddl)":                false,
		create + "WITH (sync_ddl = off)":          true,
		create + "WITH (decoder = auto)":          true,
		create + "WITH (decoder = pgoutput)":      true,
		create + "WITH (decoder = test_decoding)": true,
		create + "WITH (apply_workers = 4)":       true,
		create + "WITH (full_conflicts = error)":  true,
		create + "WITH (full_conflicts = ignore)": true,
		create + "WITH (large_objects = false)":   true,
		create + "WITH (large_objects = true)":    true,
		create + "WITH (max_slot_wal = '1 GB')":   true,
		create + "WITH (on_max_slot_wal = fail)":  true,
		create + "WITH (copy_workers = 4, split_table_above = '1 GB', copy_format = text)":  true,
		"ALTER SYNC TASK shop SET (apply_workers = 2)":                                      true,
		"ALTER SYNC TASK shop SET (retry_limit = 5)":                                        true,
		"ALTER SYNC TASK shop SET FLOW UNLIMITED":                                           true,
		"ALTER SYNC TASK shop SET FLOW LIMIT 1 MB PER SECOND":                               true,
		"ALTER SYNC TASK shop SET MODE INCREMENTAL":                                         true,
		"ALTER SYNC TASK shop SET FOR (SCHEMA s)":                                           true,
		"ALTER SYNC TASK shop SET ACCOUNTS ALL":                                             true,
		"ALTER SYNC TASK shop ADD (TABLE a)":                                                false,
		"ALTER SYNC TASK shop DROP (TABLE a)":                                               false,
		"ALTER SYNC TASK shop SKIP DDL '0/1'":                                               false,
		"ALTER SYNC TASK shop RETRY DDL":                                                    false,
		"COMPARE SYNC TASK shop ROWS WITH (workers = 2, time_limit = '1 h', max_delay = 5)": true,
		"COMPARE SYNC TASK shop VALUES":                                                     true,
		"COMPARE SYNC TASK shop OBJECTS":                                                    true,
		"COMPARE SYNC TASK shop ACCOUNTS":                                                   true,
		"COMPARE SYNC TASK shop ROWS WITH (max_rows_per_second = 5)":                        true,
		"COMPARE SYNC TASK shop VALUES WITH (max_mb_per_second = 5)":                        true,
		"COMPARE SYNC TASK shop VALUES WITH (max_reported_rows = 5)":                        true,
		"COMPARE SYNC TASK shop ROWS WITH (many_to_one)":                                    true,
		"EXPLAIN SYNC TASK shop":                                                            false,
		"EXPLAIN " + create:                                                                 false,
		"RESET SYNC TASK shop":                                                              true,
		"RESET SYNC TASK shop WITH (clear_destination)":                                     true,
		"CLONE SYNC TASK shop AS copy":                                                      false,
		"REPAIR COMPARE 1":                                                                  true,
		"REPAIR COMPARE 1 DRY RUN":                                                          true,
		"SHOW COMPARE REPORT 1":                                                             true,
		"SHOW SYNC DDL SETUP shop":                                                          false,
	} {
		stmt, err := Parse(sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		err = supported(stmt)
		if (err == nil) != supports {
			t.Errorf("%s: %v", sql, err)
		}
		if err != nil && (AsError(err).Code != CodeUnsupported || AsError(err).Hint == "") {
			t.Errorf("%s: %+v", sql, AsError(err))
		}
	}
	for name := range notYet {
		if !slices.ContainsFunc(catalog.TaskOptionList(), func(o catalog.Option) bool { return o.Name == name }) {
			t.Errorf("there is no option %s", name)
		}
	}
}

// TestExplain: the errors of other packages become what a user can act upon.
func TestExplain(t *testing.T) {
	t.Parallel()
	_, conninfo := endpoint.Parse("nonsense=1", endpoint.Options{})
	ep, err := endpoint.Parse(nowhere, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, refused := ep.Connect(t.Context(), "test")
	state := &catalog.StateError{Task: "shop", State: catalog.StatePaused, Event: catalog.EventPause, Possible: []catalog.Event{catalog.EventResume}}
	for name, c := range map[string]struct {
		err                 error
		code, message, hint string
	}{
		"state":       {state, CodeWrongState, `cannot pause task "shop" now`, "Possible now: RESUME SYNC TASK shop;"},
		"option":      {&catalog.OptionError{Name: "x", Message: "is unknown", Nearest: "y"}, CodeInvalidValue, "", `Perhaps you meant the option "y".`},
		"conninfo":    {conninfo, CodeInvalidValue, "", ""},
		"connection":  {refused, CodeConnectionFailed, "", ""},
		"not found":   {catalog.ErrNotFound, CodeUndefined, "", ""},
		"exists":      {catalog.ErrExists, CodeDuplicate, "", ""},
		"finished":    {catalog.ErrFinished, CodeWrongState, "", ""},
		"own":         {Errorf(CodeDenied, "no"), CodeDenied, "no", ""},
		"own, caused": {&Error{Code: CodeUndefined, Message: "no such", Err: catalog.ErrNotFound}, CodeUndefined, "no such", ""},
		"server":      {&pgconn.PgError{Code: "53300", Message: "too many"}, "53300", "too many", ""},
		"defect":      {errors.New("oops"), CodeInternal, "oops", ""},
	} {
		for _, err := range []error{c.err, fmt.Errorf("wrapped: %w", c.err)} {
			e := AsError(explain(err))
			if e.Code != c.code || c.message != "" && e.Message != c.message && e.Message != "wrapped: "+c.message || e.Hint != c.hint && c.hint != "" {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
}
