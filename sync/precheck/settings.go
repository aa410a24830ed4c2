package precheck

import (
	"context"
	"fmt"

	"pgsyncd/sync/endpoint"
)

var settingChecks = []check{
	{"source settings", "wal_level", source, streamed, walLevel},
	{"source settings", "replication slots", source, streamed, replicationSlots},
	{"source settings", "WAL senders", source, streamed, walSenders},
	{"source settings", "standby as source", source, always, standbySource},
	{"source settings", "slot limits", source, streamed, slotLimits},
}

func walLevel(ctx context.Context, e *env) (finding, error) {
	level, err := value[string](ctx, &e.src, "SELECT pg_catalog.current_setting('wal_level')")
	if err != nil {
		return finding{}, err
	}
	if level != "logical" {
		return failed("wal_level is "+level, "ALTER SYSTEM SET wal_level = logical; then restart the source.")
	}
	return passed("logical")
}

func replicationSlots(ctx context.Context, e *env) (finding, error) {
	var most, used int
	err := e.src.conn.QueryRow(ctx, `SELECT pg_catalog.current_setting('max_replication_slots')::int,
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots)`).Scan(&most, &used)
	if err != nil {
		return finding{}, err
	}
	if most-used < e.in.Slots {
		return failed(fmt.Sprintf("%d of max_replication_slots = %d are used; the task needs %d", used, most, e.in.Slots),
			fmt.Sprintf("ALTER SYSTEM SET max_replication_slots = %d; then restart the source; or drop slots that nobody uses.", used+e.in.Slots+4))
	}
	if most-used < drainSlots && endpoint.MovesSlots(e.src.version) {
		return finding{
			Passed, fmt.Sprintf("%d of %d used; with one more a backlog would be read faster", used, most),
			fmt.Sprintf("ALTER SYSTEM SET max_replication_slots = %d; then restart the source.", used+drainSlots+4),
		}, nil
	}
	return passed("%d of %d used", used, most)
}

// drainSlots are the task's own and the temporary one by which a stream reads a backlog, where it can have that.
const drainSlots = 2

func walSenders(ctx context.Context, e *env) (finding, error) {
	var most, used int
	err := e.src.conn.QueryRow(ctx, `SELECT pg_catalog.current_setting('max_wal_senders')::int,
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication)`).Scan(&most, &used)
	if err != nil {
		return finding{}, err
	}
	if most-used < e.in.Slots {
		return failed(fmt.Sprintf("%d of max_wal_senders = %d are used; the task needs %d", used, most, e.in.Slots),
			fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d; then restart the source.", used+e.in.Slots+4))
	}
	return passed("%d of %d used", used, most)
}

func standbySource(ctx context.Context, e *env) (finding, error) {
	var standby bool
	var feedback, delay string
	err := e.src.conn.QueryRow(ctx, `SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('hot_standby_feedback'),
		pg_catalog.current_setting('max_standby_streaming_delay')`).Scan(&standby, &feedback, &delay)
	switch {
	case err != nil:
		return finding{}, err
	case !standby:
		return passed("the source is a primary")
	case e.in.Incremental:
		return failed("the source is a standby; publications can only be created on a primary", "Connect to the primary, or use MODE FULL.")
	case e.src.version < 100000:
		return failed("the source is a standby of a version whose standbys cannot export snapshots", "Connect to the primary.")
	case feedback != "on":
		return failed("the source is a standby with hot_standby_feedback = off: the primary may cancel the copy",
			"ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf(); on the standby.")
	}
	return passed("a standby with hot_standby_feedback = on; DDL of the primary on a table that is copied cancels the copy after max_standby_streaming_delay = %s", delay)
}

// slotLimits tells of settings by which the server gives up a slot that lags.
func slotLimits(ctx context.Context, e *env) (finding, error) {
	type setting struct{ Name, Value string }
	limits, err := read[setting](ctx, &e.src, `SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings
		WHERE name = 'max_slot_wal_keep_size' AND setting <> '-1' OR name = 'idle_replication_slot_timeout' AND setting <> '0'
		ORDER BY name`)
	if err != nil {
		return finding{}, err
	}
	found := "none"
	for i, l := range limits {
		if i == 0 {
			found = "the task must be reset if it lags beyond: "
		} else {
			found += ", "
		}
		found += l.Name + " = " + l.Value
	}
	return passed("%s", found)
}
