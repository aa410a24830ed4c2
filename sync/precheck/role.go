package precheck

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

var roleChecks = []check{
	{"replication role", "session_replication_role", destination | inventory, always, replicationRole},
	{"replication role", "triggers that always fire", source | destination | inventory, streamed, alwaysFiring},
}

// replicationRole finds out whether triggers and foreign keys of the destination
// can be kept from firing while rows are copied into tables that have them already and while changes are applied.
func replicationRole(ctx context.Context, e *env) (finding, error) {
	filling := e.in.ExistingObjects == ExistingUse || e.in.ExistingObjects == ExistingAppend
	if !e.in.Incremental && !filling {
		return passed("not needed: triggers and foreign keys are created when the rows are there")
	}
	tx, err := e.dst.conn.Begin(ctx)
	if err != nil {
		return finding{}, err
	}
	_, refused := tx.Exec(ctx, "SET LOCAL session_replication_role = replica")
	if err := tx.Rollback(ctx); err != nil {
		return finding{}, err
	}
	if refused == nil {
		return passed("%s may set it", ident(e.dst.role))
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](refused); !ok || pgErr.Code != "42501" {
		return finding{}, refused
	}
	current, err := value[string](ctx, &e.dst, "SELECT pg_catalog.current_setting('session_replication_role')")
	if err != nil {
		return finding{}, err
	}
	if current == "replica" {
		return passed("%s may not set it, but it is replica already", ident(e.dst.role))
	}
	reactions, err := e.reactions(ctx)
	if err != nil {
		return finding{}, err
	}
	if len(reactions) == 0 {
		return passed("%s may not set it, but the tables have no triggers and no foreign keys", ident(e.dst.role))
	}
	role := ident(e.dst.role)
	if !e.in.Incremental {
		return confirm(fmt.Sprintf("%s may not set it, so these fire for the rows that are copied: %s", role, enumerate(reactions)),
			"Disable them, or confirm that they neither change the rows nor write into other tables of the task.")
	}
	fix := fmt.Sprintf("As a superuser of the destination: ALTER ROLE %s SET session_replication_role = replica; ", role)
	if e.dst.version >= 150000 {
		fix = fmt.Sprintf("As a superuser of the destination: GRANT SET ON PARAMETER session_replication_role TO %s; ", role)
	}
	return failed(fmt.Sprintf("%s may not set it, so these would fire a second time: %s", role, enumerate(reactions)),
		fix+"or set it to replica for the whole server while the task runs: "+
			"ALTER SYSTEM SET session_replication_role = replica; SELECT pg_reload_conf();")
}

// reactionsSQL lists triggers and foreign keys that fire in ordinary sessions.
const reactionsSQL = `
SELECT 'TRIGGER ' || pg_catalog.quote_ident(t.tgname) || ' ON ' || t.tgrelid::pg_catalog.regclass::text
	FROM pg_catalog.pg_trigger t WHERE t.tgrelid = ANY ($1) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
UNION ALL
SELECT 'FOREIGN KEY ' || pg_catalog.quote_ident(c.conname) || ' ON ' || c.conrelid::pg_catalog.regclass::text
	FROM pg_catalog.pg_constraint c WHERE c.contype = 'f' AND (c.conrelid = ANY ($1) OR c.confrelid = ANY ($1))
ORDER BY 1`

// reactions are what the task's tables have on the source, and where they exist
// already on the destination. A copy alone meets only the latter.
func (e *env) reactions(ctx context.Context) (list []string, err error) {
	if e.in.Incremental {
		list, err = column[string](ctx, &e.src, reactionsSQL, e.tableOIDs())
	}
	if err != nil || e.creating {
		return list, err
	}
	existing, err := e.existingTables(ctx)
	if err != nil {
		return nil, err
	}
	there := env{inv: existing}
	more, err := column[string](ctx, &e.dst, reactionsSQL, there.tableOIDs())
	return append(list, more...), err
}

// alwaysFiring finds what fires in sessions that apply changes too: its effects
// would happen twice, once replicated and once of its own. The source shows what the destination will have, unless that has it already.
func alwaysFiring(ctx context.Context, e *env) (finding, error) {
	at, oids, made := &e.src, e.tableOIDs(), len(e.whole) > 0
	if e.in.Adopt {
		existing, err := e.existingTables(ctx)
		if err != nil {
			return finding{}, err
		}
		there := env{inv: existing}
		at, oids, made = &e.dst, there.tableOIDs(), true
	}
	list, err := column[string](ctx, at, `
		SELECT 'TRIGGER ' || pg_catalog.quote_ident(t.tgname) || ' ON ' || t.tgrelid::pg_catalog.regclass::text
			FROM pg_catalog.pg_trigger t
			WHERE t.tgrelid = ANY ($1) AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') AND $2
		UNION ALL
		SELECT 'RULE ' || pg_catalog.quote_ident(r.rulename) || ' ON ' || r.ev_class::pg_catalog.regclass::text
			FROM pg_catalog.pg_rewrite r
			WHERE r.ev_class = ANY ($1) AND r.ev_enabled IN ('A', 'R') AND r.ev_type <> '1'
		ORDER BY 1`, oids, made)
	if err != nil {
		return finding{}, err
	}
	if len(list) > 0 {
		return confirm("these fire in the destination as well, while their effects are replicated: "+enumerate(list),
			"Disable them in the destination after the full synchronization (ALTER TABLE … DISABLE TRIGGER …), or confirm that firing twice does no harm.")
	}
	return passed("none")
}
