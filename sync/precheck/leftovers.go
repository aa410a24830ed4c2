package precheck

import (
	"context"
	"fmt"
	"strings"
)

var leftoverChecks = []check{
	{"leftovers", "slots", source, streamed, leftoverSlots},
	{"leftovers", "publications", source, streamed, leftoverPublications},
}

// ownPrefix starts the name of everything that tasks create on a source.
const ownPrefix = `pgsyncd\_%`

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// leftoverSlots fails only on a slot that has the task's own name: others may be
// those of paused tasks, perhaps of another daemon.
func leftoverSlots(ctx context.Context, e *env) (finding, error) {
	type slot struct {
		Name   string
		Active bool
	}
	list, err := read[slot](ctx, &e.src, `SELECT slot_name::text, active FROM pg_catalog.pg_replication_slots
		WHERE slot_name LIKE $1 OR slot_name = $2 ORDER BY 1`, ownPrefix, e.in.Slot)
	if err != nil {
		return finding{}, err
	}
	var idle, fix []string
	for _, s := range list {
		drop := fmt.Sprintf("SELECT pg_drop_replication_slot(%s);", literal(s.Name))
		switch {
		case s.Name == e.in.Slot && s.Active:
			return failed("the task's slot "+s.Name+" exists and is in use",
				fmt.Sprintf("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s; then %s", literal(s.Name), drop))
		case s.Name == e.in.Slot:
			return failed("the task's slot "+s.Name+" exists", drop)
		case !s.Active:
			idle, fix = append(idle, s.Name), append(fix, drop)
		}
	}
	if len(idle) > 0 {
		return finding{
			Passed, "slots of paused or former tasks: " + enumerate(idle),
			"Only if their tasks are gone, because idle slots keep WAL:\n" + statements(fix),
		}, nil
	}
	return passed("none")
}

func leftoverPublications(ctx context.Context, e *env) (finding, error) {
	if e.src.version < oldestPgoutput {
		return passed("this version has none")
	}
	list, err := column[string](ctx, &e.src, `SELECT p.pubname::text FROM pg_catalog.pg_publication p
		WHERE p.pubname LIKE $1 AND p.pubname <> $2 AND NOT EXISTS (
			SELECT FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = p.pubname) ORDER BY 1`, ownPrefix, e.in.Publication)
	if err != nil {
		return finding{}, err
	}
	var fix []string
	for _, name := range list {
		fix = append(fix, fmt.Sprintf("DROP PUBLICATION %s;", ident(name)))
	}
	if len(list) > 0 {
		return finding{Passed, "publications without a slot: " + enumerate(list), "If no task uses them:\n" + statements(fix)}, nil
	}
	return passed("none")
}
