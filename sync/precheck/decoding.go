package precheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5/pgconn"
)

// Values of Input.Decoder; the latter two are names of output plug-ins.
const (
	DecoderAuto        = "auto"
	PluginPgoutput     = "pgoutput"
	PluginTestDecoding = "test_decoding"
)

var decodingChecks = []check{
	{"decoding", "decoding plug-in", source | inventory, streamed, decodingPlugin},
	{"decoding", "TRUNCATE", source, streamed, truncateDecoded},
}

// Plugin decides which plug-in decodes the changes of a task, and says why.
func Plugin(ctx context.Context, in Input) (plugin, reason string, err error) {
	in.Decoder = cmp.Or(in.Decoder, DecoderAuto)
	e := open(ctx, in)
	defer e.close(ctx)
	if err := e.prepare(ctx, source|inventory); err != nil {
		return "", "", fmt.Errorf("choose the decoding plug-in: %w", err)
	}
	if plugin, reason, err = e.plugin(ctx); err != nil {
		return "", "", fmt.Errorf("choose the decoding plug-in: %w", err)
	}
	return plugin, reason, nil
}

// plugin takes pgoutput where it can be used. Rows are selected by a publication only, so a task with filters gets no other.
func (e *env) plugin(ctx context.Context) (name, reason string, err error) {
	switch {
	case e.in.Decoder != DecoderAuto:
		return e.in.Decoder, "decoder = " + e.in.Decoder, nil
	case e.src.version < oldestPgoutput:
		return PluginTestDecoding, "PostgreSQL " + majorText(e.src.version) + " has no pgoutput", nil
	}
	lacks, _, err := e.publishing(ctx)
	switch {
	case err != nil:
		return "", "", err
	case len(lacks) == 0:
		return PluginPgoutput, "the publication can be created", nil
	case slices.ContainsFunc(e.inv.Tables, func(t schema.Table) bool { return t.Filter != "" }):
		return PluginPgoutput, "only a publication can select rows", nil
	}
	return PluginTestDecoding, "no publication can be created: " + strings.Join(lacks, "; "), nil
}

// decodingPlugin tries whether the plug-in can be loaded, which creating a slot does before anything else. pgoutput comes with
// the server itself.
func decodingPlugin(ctx context.Context, e *env) (_ finding, err error) {
	plugin, why, err := e.plugin(ctx)
	if err != nil {
		return finding{}, err
	}
	if plugin == PluginPgoutput {
		return passed("pgoutput: %s", why)
	}
	if _, err := e.src.conn.Exec(ctx, "SET statement_timeout = '5s'"); err != nil {
		return finding{}, err
	}
	defer func() {
		if _, reset := e.src.conn.Exec(ctx, "SET statement_timeout = 0"); err == nil {
			err = reset
		}
	}()
	slot := fmt.Sprintf("pgsyncd_precheck_%d", e.src.conn.PgConn().PID())
	create := "SELECT pg_catalog.pg_create_logical_replication_slot($1, 'test_decoding', true)"
	if e.src.version < 100000 { // there are no temporary ones
		create = "SELECT pg_catalog.pg_create_logical_replication_slot($1, 'test_decoding')"
	}
	_, err = e.src.conn.Exec(ctx, create, slot)
	pgErr, refused := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil:
		if _, err := e.src.conn.Exec(ctx, "SELECT pg_catalog.pg_drop_replication_slot($1)", slot); err != nil {
			return finding{}, err
		}
		return passed("test_decoding: %s", why)
	case !refused:
		return finding{}, err
	case pgErr.Code == "57014": // query_canceled: it was loaded, and waits for older transactions to end
		return passed("test_decoding: %s", why)
	case pgErr.Code == "58P01": // undefined_file
		return failed("test_decoding is not installed on the source, and "+why,
			"Install the package of the source's contrib modules (such as postgresql-contrib), or let the task use pgoutput: see create publication.")
	}
	return failed("test_decoding could not be tried: "+pgErr.Message, "See what is suggested for wal_level, replication slots and the replication connection.")
}

// truncateDecoded concerns versions whose WAL does not tell logical decoding of TRUNCATE.
func truncateDecoded(_ context.Context, e *env) (finding, error) {
	if e.src.version < 110000 {
		return confirm("PostgreSQL "+majorText(e.src.version)+" does not decode TRUNCATE: the rows would stay in the destination",
			"Confirm that no table is truncated while the task runs; use DELETE, or truncate the table in the destination at the same point.")
	}
	return passed("is decoded")
}

// unselectable are the restrictions of tables that test_decoding, which sends all rows, cannot serve.
func (e *env) unselectable() (found []string) {
	for _, t := range e.tables() {
		switch {
		case t.Filter != "":
			found = append(found, fmt.Sprintf("table %s: test_decoding cannot select rows", t.Name))
		case intersects(t.Key, t.Omitted):
			found = append(found, fmt.Sprintf("table %s: a column of its replica identity is not selected", t.Name))
		}
	}
	return found
}
