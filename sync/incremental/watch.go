package incremental

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// watchInterval is the least time between two looks at the source's catalogs.
const watchInterval = time.Second

// watcher looks at what decides which changes the source sends, and which does not show in the stream when somebody changes
// it: the publication, and the tables it stands for. A look cannot prevent a loss, but ends the stream over it.
type watcher struct {
	publication string // none: the changes of all tables are sent
	plain       bool   // the source is older than 10
	selection   schema.Selection
	copied      map[string]pglogrepl.LSN // empty where the task began with the slot alone
	sources     map[uint32][]string      // names that the copied tables had, by OID, and those of the tables above
	log         *slog.Logger

	oid     uint32                  // of the publication as it was made or, where that is not known, at the first look
	all     bool                    // it is for all tables
	members map[uint32]member       // rows of pg_publication_rel by table
	tables  map[uint32]watchedTable // that the publication stands for
	entered map[uint32]bool         // partitions that came later and were looked into
}

// watchedTable is a table of the source that holds rows.
type watchedTable struct {
	oid       uint32
	name      schema.Name
	above     []schema.Name // partitioned tables above it, from the nearest on
	attached  string        // the transactions that made it a partition
	logged    bool
	published bool
}

// member is what a publication says of one table.
type member struct {
	oid       uint32   // of the row of pg_publication_rel: changing anything makes a new one
	condition bool     // rows are left out
	missing   []string // columns that are left out
}

// root is the topmost partitioned table, or the table itself.
func (t watchedTable) root() schema.Name {
	if t.above == nil {
		return t.name
	}
	return t.above[len(t.above)-1]
}

// newWatcher returns one that knows the OIDs of the publication and of its rows, as they were made.
func newWatcher(cfg Config, publication uint32, rows map[uint32]uint32, copied map[string]pglogrepl.LSN, sources map[uint32][]string) *watcher {
	members := map[uint32]member{}
	for table, row := range rows {
		members[table] = member{oid: row}
	}
	return &watcher{
		members: members, publication: cfg.Publication, oid: publication, selection: cfg.Selection, copied: copied, sources: sources, log: cfg.Logger, entered: map[uint32]bool{},
	}
}

// look compares the source's catalogs with what the stream relies on and with the look before.
func (w *watcher) look(ctx context.Context, conn *pgx.Conn) error {
	var err error
	if w.publication != "" {
		if err = w.lookAtPublication(ctx, conn); err == nil {
			err = w.lookAtMembers(ctx, conn)
		}
	}
	if err == nil {
		err = w.lookAtTables(ctx, conn)
	}
	switch {
	case err == nil:
	case w.publication == "":
		return fmt.Errorf("tables of the source: %w", err)
	default:
		return fmt.Errorf("publication %s: %w", pgx.Identifier{w.publication}.Sanitize(), err)
	}
	return nil
}

// lookAtPublication reads the row as JSON, because its columns differ from version to version.
func (w *watcher) lookAtPublication(ctx context.Context, conn *pgx.Conn) error {
	var oid uint32
	var everything, viaRoot bool
	err := conn.QueryRow(ctx, `SELECT p.oid, p.puballtables, p.pubinsert AND p.pubupdate AND p.pubdelete
			AND coalesce((pg_catalog.to_json(p) ->> 'pubtruncate')::bool, true), coalesce((pg_catalog.to_json(p) ->> 'pubviaroot')::bool, false)
		FROM pg_catalog.pg_publication p WHERE p.pubname = $1`, w.publication).Scan(&oid, &w.all, &everything, &viaRoot)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return permanentf("%w: it does not exist", ErrPublication)
	case err != nil:
		return err
	case !everything:
		return permanentf("%w: it leaves out INSERT, UPDATE, DELETE or TRUNCATE", ErrPublication)
	case viaRoot:
		return permanentf("%w: it publishes partitions as their root", ErrPublication)
	case w.oid != 0 && w.oid != oid:
		return permanentf("%w: it was created anew", ErrPublication)
	}
	w.oid = oid
	return nil
}

// membersSQL reads what the publication ($1) has of single tables. Conditions and lists of columns are read through JSON, because
// they are there since 15 only.
const membersSQL = `SELECT r.prrelid, r.oid, pg_catalog.to_json(r) ->> 'prqual' IS NOT NULL,
		ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
			WHERE pg_catalog.to_json(r) ->> 'prattrs' IS NOT NULL AND a.attrelid = r.prrelid AND a.attnum > 0 AND NOT a.attisdropped
			AND coalesce(pg_catalog.to_json(a) ->> 'attgenerated', '') = '' AND a.attnum::text NOT IN
				(SELECT pg_catalog.json_array_elements_text(CASE WHEN pg_catalog.to_json(r) ->> 'prattrs' IS NOT NULL THEN pg_catalog.to_json(r) -> 'prattrs' END)))
	FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = $1`

// lookAtMembers notices a table that was taken out and put back, and conditions that are not the task's.
func (w *watcher) lookAtMembers(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, membersSQL, w.oid)
	if err != nil {
		return err
	}
	members := map[uint32]member{}
	var table uint32
	var m member
	_, err = pgx.ForEachRow(rows, []any{&table, &m.oid, &m.condition, &m.missing}, func() error {
		if before, known := w.members[table]; known && before.oid != m.oid {
			return permanentf("%w: what it has of the table with OID %d was changed", ErrPublication, table)
		}
		members[table] = m
		m.missing = nil
		return nil
	})
	if err != nil {
		return err
	}
	w.members = members
	switch sealed, err := schema.PublicationSealed(ctx, conn, w.publication); {
	case err != nil:
		return err
	case !sealed:
		return permanentf("%w: the conditions on its tables were changed", ErrPublication)
	}
	return nil
}

// selects compares what is published of a table's rows and columns with what is selected.
func (w *watcher) selects(t watchedTable) error {
	m := w.members[t.oid]
	where := w.selection.Where(t.name, t.above...)
	if m.condition && where == "" {
		return permanentf("%w: it leaves out rows of table %s", ErrPublication, t.name)
	}
	if _, itself := w.copied[t.name.String()]; where != "" && !m.condition && !itself && t.above != nil {
		return permanentf("%w: partition %s was attached to %s after the copy, and the condition on the rows of that table is not on it; "+
			"reset the task", ErrPublication, t.name, t.root())
	}
	if where != "" && !m.condition {
		return permanentf("%w: it has no condition on the rows of table %s", ErrPublication, t.name)
	}
	for _, column := range m.missing {
		if _, taken := w.selection.TargetColumn(column, t.name, t.above...); taken {
			return permanentf("%w: it leaves out column %s of table %s", ErrPublication, pgx.Identifier{column}.Sanitize(), t.name)
		}
	}
	return nil
}

// tablesSQL reads all tables that hold rows, and whether they or a table above them is in the publication ($1: its OID, $2: it
// is for all tables). pg_publication_tables would tell as well, but waits for locks on the tables (since 16).
const tablesSQL = `
	WITH RECURSIVE up (leaf, parent, attached, level) AS (
		SELECT c.oid, i.inhparent, i.xmin::text, 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
		WHERE c.relispartition
		UNION ALL
		SELECT up.leaf, i.inhparent, up.attached || ' ' || i.xmin::text, up.level + 1 FROM up JOIN pg_catalog.pg_class p ON p.oid = up.parent AND p.relispartition
		JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.parent),
	above AS (
		SELECT up.leaf, (array_agg(up.attached ORDER BY up.level DESC))[1] AS attached, array_agg(n.nspname::text ORDER BY up.level) AS schemas,
			array_agg(p.relname::text ORDER BY up.level) AS names
		FROM up JOIN pg_catalog.pg_class p ON p.oid = up.parent JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace GROUP BY up.leaf)
	SELECT c.oid, n.nspname, c.relname, above.schemas, above.names, coalesce(above.attached, ''), c.relpersistence = 'p',
		$2 AND c.relpersistence = 'p' OR c.oid IN (SELECT r.prrelid FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = $1)
			OR c.oid IN (SELECT up.leaf FROM up JOIN pg_catalog.pg_publication_rel r ON r.prrelid = up.parent WHERE r.prpubid = $1)
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN above ON above.leaf = c.oid
	WHERE c.relkind = 'r' AND c.oid >= 16384`

// plainTablesSQL does that before 10, where there are neither partitions nor publications.
const plainTablesSQL = `
	SELECT c.oid, n.nspname, c.relname, NULL::text[], NULL::text[], '', c.relpersistence = 'p', false
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.oid >= 16384`

// streamed tells whether the changes of a table are wanted, all being sent.
func (w *watcher) streamed(t watchedTable) bool {
	_, itself := w.copied[t.name.String()]
	return t.logged && (itself || w.inTree(t) || len(w.copied) == 0 && w.selection.Includes(t.name, t.above...))
}

// inTree tells whether a table belongs to a tree that was copied.
func (w *watcher) inTree(t watchedTable) bool {
	return slices.ContainsFunc(t.above, func(n schema.Name) bool { _, copied := w.copied[n.String()]; return copied })
}

// lookAtTables compares what is published with what was copied and with the look before.
func (w *watcher) lookAtTables(ctx context.Context, conn *pgx.Conn) error {
	sql, args := tablesSQL, []any{w.oid, w.all}
	if w.plain {
		sql, args = plainTablesSQL, nil
	}
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var list []watchedTable
	var t watchedTable
	var schemas, names []string
	_, err = pgx.ForEachRow(rows, []any{
		&t.oid, &t.name.Schema, &t.name.Name, &schemas, &names, &t.attached,
		&t.logged, &t.published,
	}, func() error {
		t.above = nil
		for i := range names {
			t.above = append(t.above, schema.Name{Schema: schemas[i], Name: names[i]})
		}
		if w.publication == "" {
			t.published = w.streamed(t)
		}
		list = append(list, t)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read tables: %w", err)
	}
	published := map[uint32]watchedTable{}
	for _, t := range list {
		if w.excepted(t) {
			continue
		}
		if err := w.compare(ctx, conn, t); err != nil {
			return err
		}
		if !t.published {
			continue
		}
		if w.publication == "" {
			published[t.oid] = t
			continue
		}
		if err := w.selects(t); err != nil {
			return err
		}
		published[t.oid] = t
	}
	for oid, t := range w.tables {
		if _, there := published[oid]; !there { // compare has found those that are left without being published
			w.log.Warn("table was dropped in the source", "table", t.name.String())
		}
	}
	w.tables = published
	return nil
}

// excepted reports whether a table is a partition that is published with its tree, but not selected with it.
func (w *watcher) excepted(t watchedTable) bool {
	_, itself := w.copied[t.name.String()]
	return t.above != nil && !itself && !w.selection.Includes(t.name, t.above...)
}

// compare judges one table.
func (w *watcher) compare(ctx context.Context, conn *pgx.Conn, t watchedTable) error {
	_, itself := w.copied[t.name.String()]
	tree := w.inTree(t)
	before, known := w.tables[t.oid]
	switch {
	case known && t.published && before.name != t.name:
		return permanentf("%w: table %s was renamed to %s", ErrPublication, before.name, t.name)
	case t.published && itself && w.sources[t.oid] != nil && w.sources[t.oid][0] != t.name.String():
		return permanentf("%w: table %s is called %s now, which was the name of another one", ErrPublication, w.sources[t.oid][0], t.name)
	case known && t.published && before.attached != "" && before.attached != t.attached:
		return permanentf("%w: partition %s was detached and attached, and not published meanwhile", ErrPublication, t.name)
	case known && t.published && before.logged != t.logged:
		return permanentf("%w: table %s was set unlogged or logged, and its changes were not in the WAL meanwhile", ErrPublication, t.name)
	case len(w.copied) == 0:
		return nil
	case t.published && !itself && !tree:
		return permanentf("%w: table %s was added to it, but was never copied", ErrPublication, t.name)
	case !t.published && t.logged && (itself || tree):
		return permanentf("%w: it does not have table %s", ErrPublication, t.name)
	case t.published && !itself && !w.entered[t.oid]:
		w.entered[t.oid] = true
		return w.lookInto(ctx, conn, t)
	}
	return nil
}

// lookInto looks for rows that a table brought along when it was attached as a partition: those were inserted before
// anything of it was published, by transactions between the table's creation (which the row of a system column still shows)
// and the attachment. Rows of the transaction that attached it are told apart by their command.
func (w *watcher) lookInto(ctx context.Context, conn *pgx.Conn, t watchedTable) error {
	var brought bool
	err := conn.QueryRow(ctx, `
		WITH RECURSIVE up (relid, parent, xmin, cmin) AS (
			SELECT i.inhrelid, i.inhparent, i.xmin, i.cmin FROM pg_catalog.pg_inherits i WHERE i.inhrelid = $1
			UNION ALL
			SELECT i.inhrelid, i.inhparent, i.xmin, i.cmin FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.parent),
		attached AS (SELECT up.xmin, up.cmin FROM up ORDER BY pg_catalog.age(up.xmin), up.cmin::text::bigint DESC LIMIT 1),
		created AS (SELECT a.xmin FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attnum = -1)
		SELECT EXISTS (SELECT FROM attached, created, ONLY `+t.name.String()+` AS t
			WHERE pg_catalog.age(t.xmin) > pg_catalog.age(attached.xmin) AND pg_catalog.age(t.xmin) <= pg_catalog.age(created.xmin)
				OR t.xmin = attached.xmin AND t.cmin::text::bigint < attached.cmin::text::bigint)`, t.oid).Scan(&brought)
	if err != nil {
		return fmt.Errorf("look into partition %s: %w", t.name, err)
	}
	if brought {
		return permanentf("%w: table %s was attached to %s with rows in it, which were not published", ErrPublication, t.name, t.root())
	}
	return nil
}
