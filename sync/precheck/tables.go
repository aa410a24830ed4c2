package precheck

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"
)

var tableChecks = []check{
	{"tables", "replica identity", inventory, streamed, replicaIdentity},
	{"tables", "long keys", inventory, streamed, longKeys},
	{"tables", "unlogged tables", inventory, streamed, unloggedTables},
	{"tables", "generated columns", inventory, always, generatedColumns},
	{"tables", "partition triggers", source | inventory, copied, partitionTriggers},
	{"tables", "referenced tables", source | inventory, copied, referencedTables},
	{"tables", "sequences", inventory, always, sequenceRoom},
}

// replicaIdentity concerns each table that holds rows, partitions one by one: a
// server refuses to update rows of a published table that cannot be identified.
func replicaIdentity(_ context.Context, e *env) (finding, error) {
	var found, fix []string
	full := 0
	for _, t := range e.tables() {
		switch {
		case t.Identity == schema.IdentityFull:
			full++
			continue
		case t.Key != nil || t.Unlogged:
			continue
		case t.Identity == schema.IdentityNothing && t.PrimaryKey != nil:
			found = append(found, fmt.Sprintf("%s (set to nothing)", t.Name))
		case t.PrimaryKey != nil:
			found = append(found, fmt.Sprintf("%s (the primary key is deferrable)", t.Name))
		default:
			found = append(found, t.Name.String())
		}
		fix = append(fix, fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL;", t.Name))
	}
	if len(found) > 0 {
		return failed("UPDATE and DELETE would fail, on the source or in the stream, for want of a replica identity: "+enumerate(found),
			"Add primary keys, or on the source:\n"+statements(fix))
	}
	return passed("every table has one, %d of them full", full)
}

// keyLogged is the first minor release of each major version that logs a key
// stored out of line with an UPDATE that leaves it as it is.
var keyLogged = map[int]int{1000: 100020, 1100: 110015, 1200: 120010, 1300: 130006, 1400: 140002}

func longKeys(_ context.Context, e *env) (finding, error) {
	fixed, buggy := keyLogged[major(e.src.version)]
	buggy = buggy || e.src.version < oldestPgoutput // never mended there
	if !buggy || fixed > 0 && e.src.version >= fixed {
		return passed("this version logs keys of any length")
	}
	var found []string
	for _, t := range e.tables() {
		for _, c := range t.Columns {
			if c.Toastable && slices.Contains(t.Key, c.Name) {
				found = append(found, fmt.Sprintf("%s (%s)", t.Name, ident(c.Name)))
			}
		}
	}
	if len(found) > 0 {
		return confirm(fmt.Sprintf("PostgreSQL %s does not log a key longer than about 2 kB with every change: %s", versionText(e.src.version), enumerate(found)),
			fmt.Sprintf("Confirm that keys are shorter, or update the source to PostgreSQL %s or newer.", versionText(cmp.Or(fixed, keyLogged[1000]))))
	}
	return passed("no key can be stored out of line")
}

func unloggedTables(_ context.Context, e *env) (finding, error) {
	var found, fix []string
	for _, t := range e.tables() {
		if t.Unlogged {
			found = append(found, t.Name.String())
			fix = append(fix, fmt.Sprintf("ALTER TABLE %s SET LOGGED;", t.Name))
		}
	}
	what := "these are copied once, their later changes are not in the WAL: "
	if e.in.Adopt {
		what = "the changes of these are not in the WAL and do not come: "
	}
	if len(found) > 0 {
		return confirm(what+enumerate(found),
			"To have them synchronized, on the source:\n"+statements(fix))
	}
	return passed("none")
}

func generatedColumns(_ context.Context, e *env) (finding, error) {
	n := 0
	for _, t := range e.inv.Tables {
		for _, c := range t.Columns {
			if c.Generated != "" {
				n++
			}
		}
	}
	return passed("%s, computed by the destination", count(n, "column", "columns"))
}

// partitionTriggers finds row triggers that fire for a partitioned table but were disabled for one of its partitions. Before
// 13 only the dependency of a copy tells what it was made from.
func partitionTriggers(ctx context.Context, e *env) (finding, error) {
	if e.src.version < 110000 || len(e.whole) == 0 {
		return passed("none is synchronized")
	}
	parent := "p.oid = t.tgparentid"
	if e.src.version < 130000 {
		parent = `EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass
			AND d.refclassid = d.classid AND d.objid = t.oid AND d.refobjid = p.oid)`
	}
	list, err := column[string](ctx, &e.src, `SELECT pg_catalog.quote_ident(t.tgname) || ' ON ' || t.tgrelid::pg_catalog.regclass::text
		FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_trigger p ON `+parent+`
		WHERE t.tgrelid = ANY ($1) AND NOT p.tgisinternal AND t.tgenabled = 'D' AND p.tgenabled <> 'D' ORDER BY 1`, e.tableOIDs())
	if err != nil {
		return finding{}, err
	}
	if len(list) > 0 {
		return confirm("triggers of partitioned tables are disabled on single partitions: "+enumerate(list),
			"Enable them with ALTER TABLE … ENABLE TRIGGER …, or compare their state in the destination after the full synchronization.")
	}
	return passed("none is disabled")
}

// referencedTables concerns foreign keys that are left out: those to a table outside, and those to one of which a filter leaves out rows.
func referencedTables(ctx context.Context, e *env) (finding, error) {
	keys := func(condition string, args ...any) ([]string, error) {
		return column[string](ctx, &e.src, `SELECT pg_catalog.quote_ident(c.conname) || ' of ' || c.conrelid::pg_catalog.regclass::text
				|| ' references ' || c.confrelid::pg_catalog.regclass::text
			FROM pg_catalog.pg_constraint c WHERE c.contype = 'f' AND c.conrelid = ANY ($1) AND `+condition+" ORDER BY 1", args...)
	}
	outside, err := keys("NOT c.confrelid = ANY ($1)", e.tableOIDs())
	if err != nil {
		return finding{}, err
	}
	filtered := []uint32{}
	for _, t := range e.filtered() {
		filtered = append(filtered, t.OID)
	}
	cut, err := keys("c.confrelid = ANY ($2)", e.tableOIDs(), filtered)
	if err != nil {
		return finding{}, err
	}
	var found, fix []string
	if len(outside) > 0 {
		found = append(found, "foreign keys that are left out, because the tables they reference are not selected: "+enumerate(outside))
		fix = append(fix, "Select the referenced tables too, or confirm that the destination does without these keys.")
	}
	if len(cut) > 0 {
		found = append(found, "foreign keys that are left out, because filters leave out rows that they may reference: "+enumerate(cut))
		fix = append(fix, "Confirm that the destination does without the keys to filtered tables; where all rows agree, add them when the task is completed.")
	}
	if len(found) > 0 {
		return confirm(strings.Join(found, "; "), strings.Join(fix, "\n"))
	}
	return passed("all are selected")
}

// sequenceRoom finds sequences that the margin of a stop would exhaust.
func sequenceRoom(_ context.Context, e *env) (finding, error) {
	margin := e.in.SequenceMargin
	var found, fix []string
	for _, s := range e.inv.Sequences {
		short := s.Increment > 0 && s.LastValue > s.Max-margin || s.Increment < 0 && s.LastValue < s.Min+margin
		if s.Readable && !s.Cycle && short && s.Max-s.Min > 2*margin {
			found = append(found, fmt.Sprintf("%s at %d", s.Name, s.LastValue))
			fix = append(fix, fmt.Sprintf("ALTER SEQUENCE %s AS bigint NO MAXVALUE NO MINVALUE;", s.Name))
		}
	}
	if len(found) > 0 {
		return confirm("these are near their end: "+enumerate(found), "Widen them together with their columns, such as:\n"+statements(fix))
	}
	return passed("none is near its end")
}

// size prints bytes for reading.
func size(bytes int64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d bytes", bytes)
	}
	value, prefix := float64(bytes), -1
	for value >= unit && prefix < 4 {
		value, prefix = value/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[prefix])
}
