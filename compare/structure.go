package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"pgsyncd/catalog"
	"pgsyncd/sync/accounts"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// structure is what the task makes of the source's definitions, and what the destination has.
type structure struct {
	selection           schema.Selection
	options             schema.PlanOptions
	source, destination *schema.Plan
	oldest              int             // version of the older server, like server_version_num
	schemas             map[string]bool // of the destination, quoted
	names               map[string]bool // roles of the destination
	unseen              unseen
}

// side is a session on one side in a transaction that sees one state of it.
type side struct {
	endpoint *endpoint.Endpoint
	conn     *pgx.Conn
	version  int
	snapshot string // its name, empty where it has none
}

// open begins a transaction, under whose snapshot pg_dump can work where the server is no standby.
func (j *job) open(ctx context.Context, e *endpoint.Endpoint) (_ *side, err error) {
	conn, err := e.Connect(ctx, j.application)
	if err != nil {
		return nil, err
	}
	s := &side{endpoint: e, conn: conn}
	defer func() {
		if err != nil {
			endpoint.CloseConn(ctx, conn)
		}
	}()
	if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return nil, fmt.Errorf("begin to read definitions: %w", err)
	}
	if s.version, err = schema.ServerVersion(ctx, conn); err != nil {
		return nil, err
	}
	err = conn.QueryRow(ctx, "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN '' ELSE pg_catalog.pg_export_snapshot() END").Scan(&s.snapshot)
	if err != nil {
		return nil, fmt.Errorf("export snapshot: %w", err)
	}
	return s, nil
}

// plan reads what a selection has on a side.
func (j *job) plan(ctx context.Context, s *side, pgDump string, inv *schema.Inventory, sel schema.Selection, o schema.PlanOptions) (*schema.Plan, error) {
	cfg := schema.DumpConfig{Endpoint: s.endpoint, PgDump: pgDump, Snapshot: s.snapshot, WorkDir: j.cfg.WorkDir}
	cfg.Restrict(sel, inv)
	cfg.Relations = slices.DeleteFunc(cfg.Relations, func(n schema.Name) bool { return slices.Contains(o.Without, n) })
	cfg.Without = append(cfg.Without, o.Without...)
	if sel.OnlyRelations() && len(cfg.Relations) == 0 { // which pg_dump would take for everything
		return &schema.Plan{}, nil
	}
	archive, err := schema.Dump(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return archive.Plan(inv, sel, o)
}

// readStructure reads both sides.
func (j *job) readStructure(ctx context.Context) (*structure, error) {
	t := &structure{schemas: map[string]bool{}}
	if err := json.Unmarshal(j.task.Definition, &t.selection); err != nil {
		return nil, fmt.Errorf("read selection of task %s: %w", j.task.Name, err)
	}
	options, err := catalog.ParseTaskOptions(j.task.Options)
	if err != nil {
		return nil, err
	}
	src, err := j.open(ctx, j.source)
	if err != nil {
		return nil, err
	}
	defer endpoint.CloseConn(ctx, src.conn)
	dst, err := j.open(ctx, j.destination)
	if err != nil {
		return nil, err
	}
	defer endpoint.CloseConn(ctx, dst.conn)
	t.oldest = min(src.version, dst.version)
	newest := max(src.version, dst.version)
	pgDump, _, err := schema.FindPgDump(ctx, newest, newest)
	if err != nil {
		return nil, err
	}
	schemas, err := nameSet(ctx, dst.conn, "SELECT nspname::text FROM pg_catalog.pg_namespace")
	if err != nil {
		return nil, err
	}
	for name := range schemas {
		t.schemas[schema.Name{Name: name}.String()] = true
	}
	if t.names, err = nameSet(ctx, dst.conn, "SELECT rolname::text FROM pg_catalog.pg_roles"); err != nil {
		return nil, err
	}
	t.options.Indexes = options.SyncIndexes
	if t.options.Roles, err = t.roles(ctx, src.conn); err != nil {
		return nil, err
	}
	inv, err := schema.Read(ctx, src.conn, t.selection)
	if err != nil {
		return nil, err
	}
	mirror := t.selection.Mirror(inv)
	there, err := schema.Read(ctx, dst.conn, mirror)
	if err != nil {
		return nil, err
	}
	if t.unseen, err = unseenTables(ctx, dst.conn, inv, there); err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		t.source, err = j.plan(ctx, src, pgDump, inv, t.selection, t.options)
		return err
	})
	g.Go(func() (err error) {
		t.destination, err = j.plan(ctx, dst, pgDump, there, mirror, schema.PlanOptions{Indexes: true, Roles: t.options.Roles, RolesOf: inv, Without: t.unseen.names})
		return err
	})
	return t, g.Wait()
}

// roles are those that the task carries and the destination has; nil where the task carries none.
func (t *structure) roles(ctx context.Context, src *pgx.Conn) ([]string, error) {
	if t.selection.Accounts.None() {
		return nil, nil
	}
	wanted, _, err := accounts.Read(ctx, src, t.selection.Accounts)
	if err != nil {
		return nil, err
	}
	roles := []string{}
	for _, r := range wanted {
		if r.System() == "" && t.names[r.Name] {
			roles = append(roles, r.Name)
		}
	}
	return roles, nil
}

func nameSet(ctx context.Context, conn *pgx.Conn, sql string) (map[string]bool, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return set, nil
}

// entries are all that a plan makes.
func entries(p *schema.Plan) []schema.Entry {
	return slices.Concat(p.Before, p.Indexes, p.Constraints, p.After)
}
