package precheck

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// needs is a set of things a check cannot be made without.
type needs uint8

const (
	source      needs = 1 << iota // a session on the source
	destination                   // a session on the destination
	inventory                     // what the source contains
	database                      // the destination database, unless it is to be created: then the check passes
)

const application = "pgsyncd precheck"

// side is one of the two databases, as the precheck sees it.
type side struct {
	endpoint  *endpoint.Endpoint
	conn      *pgx.Conn
	err       error // why there is no session
	absent    bool  // there never was one
	version   int   // server_version_num
	role      string
	superuser bool
}

// env is what the checks of one run share.
type env struct {
	in       Input
	src, dst side
	creating bool // the destination database is missing and will be created; dst is a session on the database postgres
	inv      *schema.Inventory
	invErr   error
	whole    []string // schemas of the source that are taken with every kind of object
	began    walPosition
}

// open connects to both sides. What fails is remembered and reported by the
// checks that need it.
func open(ctx context.Context, in Input) *env {
	e := &env{in: in, src: side{endpoint: in.Source}, dst: side{endpoint: in.Destination}}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	e.src.connect(ctx)
	e.dst.connect(ctx)
	if in.Incremental && e.src.err == nil {
		e.began, _ = e.src.wal(ctx) // only a forecast needs it
	}
	if in.CreateDatabase && e.dst.err != nil && endpoint.Diagnose(e.dst.err).Cause == endpoint.CauseNoDatabase {
		e.creating = true
		e.dst = side{endpoint: in.Destination.WithDatabase("postgres")}
		e.dst.connect(ctx)
	}
	e.src.absent, e.dst.absent = e.src.err != nil, e.dst.err != nil
	return e
}

func (s *side) connect(ctx context.Context) {
	s.conn, s.err = s.endpoint.Connect(ctx, application)
	if s.err != nil {
		return
	}
	s.err = s.conn.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int, current_user,
		(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)`).Scan(&s.version, &s.role, &s.superuser)
}

// prepare makes sure that what a check needs is there; a session that an earlier
// check lost is opened again.
func (e *env) prepare(ctx context.Context, n needs) error {
	for _, s := range []*side{&e.src, &e.dst} {
		if s == &e.src && n&(source|inventory) == 0 || s == &e.dst && n&(destination|database) == 0 {
			continue
		}
		if s.err == nil && s.conn.IsClosed() {
			s.connect(ctx)
		}
		if s.err != nil {
			return s.err
		}
	}
	if n&inventory != 0 && e.inv == nil && e.invErr == nil {
		if e.inv, e.invErr = schema.Read(ctx, e.src.conn, e.in.Selection); e.invErr == nil {
			e.whole, e.invErr = e.wholeSchemas(ctx)
		}
	}
	if n&inventory != 0 {
		return e.invErr
	}
	return nil
}

// wholeSchemas are the schemas of which the task takes everything. Those of extensions come with them.
func (e *env) wholeSchemas(ctx context.Context) ([]string, error) {
	whole := []string{}
	list, err := column[string](ctx, &e.src, `SELECT nspname::text FROM pg_catalog.pg_namespace n
		WHERE nspname NOT LIKE 'pg\_%' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.objid = n.oid AND d.deptype = 'e')
		ORDER BY nspname::text COLLATE "C"`)
	for _, name := range list {
		if e.takesSchema(name) && schema.ExcludedSchema(name) == "" {
			whole = append(whole, name)
		}
	}
	return whole, err
}

func (e *env) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, s := range []*side{&e.src, &e.dst} {
		if s.conn != nil {
			_ = s.conn.Close(ctx) // nothing was changed that could be lost
		}
	}
}

// tables are the source's tables that hold rows.
func (e *env) tables() []schema.Table {
	var list []schema.Table
	for _, t := range e.inv.Tables {
		if t.Kind == schema.KindTable {
			list = append(list, t)
		}
	}
	return list
}

func (e *env) tableOIDs() []uint32 {
	oids := []uint32{}
	for _, t := range e.inv.Tables {
		oids = append(oids, t.OID)
	}
	return oids
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }

// column reads the one column of a query.
func column[T any](ctx context.Context, s *side, sql string, args ...any) ([]T, error) {
	rows, err := s.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// value reads one value.
func value[T any](ctx context.Context, s *side, sql string, args ...any) (v T, err error) {
	err = s.conn.QueryRow(ctx, sql, args...).Scan(&v)
	return v, err
}

// read collects rows into structs by position.
func read[T any](ctx context.Context, s *side, sql string, args ...any) ([]T, error) {
	rows, err := s.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// versionText prints server_version_num the way PostgreSQL does.
func versionText(number int) string {
	if number >= 100000 {
		return fmt.Sprintf("%d.%d", number/10000, number%10000)
	}
	return fmt.Sprintf("%d.%d.%d", number/10000, number/100%100, number%100)
}

// majorText prints the major version only.
func majorText(number int) string {
	if number >= 100000 {
		return fmt.Sprint(number / 10000)
	}
	return fmt.Sprintf("%d.%d", number/10000, number/100%100)
}

// major is comparable between versions before and after 10.
func major(number int) int {
	if number >= 100000 {
		return number / 10000 * 100
	}
	return number / 100
}

// relation is a view or a materialized view.
type relation struct {
	OID          uint32
	Kind         string // as DROP calls it
	Name, Target schema.Name
}

// views are the selected ones of both kinds.
func (e *env) views() []relation {
	var list []relation
	for _, v := range e.inv.Views {
		list = append(list, relation{v.OID, "VIEW", v.Name, v.Target})
	}
	for _, v := range e.inv.Matviews {
		list = append(list, relation{v.OID, "MATERIALIZED VIEW", v.Name, v.Target})
	}
	return list
}

// takesSchema reports whether every kind of object of a schema is taken, extensions in it included.
func (e *env) takesSchema(name string) bool {
	sel := e.in.Selection
	return sel.All && !slices.Contains(sel.Except.Schemas, name) || slices.Contains(sel.Schemas, name)
}
