package precheck

import (
	"context"
	"crypto/tls"
	"fmt"

	"pgsyncd/sync/endpoint"
)

var endpointChecks = []check{
	{"endpoints", "source connection", 0, always, func(_ context.Context, e *env) (finding, error) {
		return connection(&e.src)
	}},
	{"endpoints", "destination connection", 0, always, func(_ context.Context, e *env) (finding, error) {
		return connection(&e.dst)
	}},
	{"endpoints", "source TLS", source, always, func(_ context.Context, e *env) (finding, error) { return encryption(&e.src) }},
	{"endpoints", "destination TLS", destination, always, func(_ context.Context, e *env) (finding, error) { return encryption(&e.dst) }},
	{"endpoints", "replication connection", source, streamed, replicationConnection},
	{"endpoints", "different databases", source | destination, always, differentDatabases},
	{"endpoints", "destination is a primary", destination, always, destinationPrimary},
	{"endpoints", "clocks", source | destination, streamed, clocks},
	{"endpoints", "standbys of the destination", destination, streamed, standbys},
}

func connection(s *side) (finding, error) {
	if s.err != nil {
		d := endpoint.Diagnose(s.err)
		return failed(d.Cause+": "+d.Message+" (what needs this connection was not checked)", d.Hint)
	}
	return passed("%s as %s", s.endpoint, ident(s.role))
}

// encryption reports what is used: where the sslmode demands more, the connection
// has failed.
func encryption(s *side) (finding, error) {
	secured, ok := s.conn.PgConn().Conn().(*tls.Conn)
	if !ok {
		return passed("not encrypted (sslmode=%s)", s.endpoint.SSLMode())
	}
	return passed("%s (sslmode=%s)", tls.VersionName(secured.ConnectionState().Version), s.endpoint.SSLMode())
}

func replicationConnection(ctx context.Context, e *env) (finding, error) {
	conn, err := e.in.Source.ConnectReplication(ctx, application)
	if err != nil {
		d := endpoint.Diagnose(err)
		return failed(d.Cause+": "+d.Message, d.Hint)
	}
	_ = conn.Close(ctx) // it has served its purpose
	return passed("replication=database")
}

// differentDatabases compares what identifies a running server, which every
// version shows to every role, and the cluster where it may be read.
func differentDatabases(ctx context.Context, e *env) (finding, error) {
	if e.creating {
		return passed("the destination database does not exist yet")
	}
	identify := func(s *side) (started, system string, err error) {
		sql := "SELECT pg_catalog.pg_postmaster_start_time()::text, ''"
		if s.version >= 90600 {
			sql = "SELECT pg_catalog.pg_postmaster_start_time()::text, system_identifier::text FROM pg_catalog.pg_control_system()"
		}
		err = s.conn.QueryRow(ctx, sql).Scan(&started, &system)
		return started, system, err
	}
	srcStarted, srcSystem, err := identify(&e.src)
	if err != nil {
		return finding{}, err
	}
	dstStarted, dstSystem, err := identify(&e.dst)
	if err != nil {
		return finding{}, err
	}
	same := srcStarted == dstStarted && srcSystem == dstSystem || srcSystem != "" && srcSystem == dstSystem && e.inRecovery(ctx)
	if same && e.in.Source.Database() == e.in.Destination.Database() {
		return failed("source and destination are the same database", "Choose another destination database.")
	}
	return passed("they are")
}

// inRecovery reports whether the source is a standby, perhaps of the destination.
func (e *env) inRecovery(ctx context.Context) bool {
	standby, err := value[bool](ctx, &e.src, "SELECT pg_catalog.pg_is_in_recovery()")
	return err == nil && standby
}

func destinationPrimary(ctx context.Context, e *env) (finding, error) {
	standby, err := value[bool](ctx, &e.dst, "SELECT pg_catalog.pg_is_in_recovery()")
	if err != nil {
		return finding{}, err
	}
	if standby {
		return failed("the server is a standby and takes no writes",
			"Connect to the primary; with several hosts in the connection string, add target_session_attrs=read-write.")
	}
	return passed("yes")
}

// clocks matters only for the delay that is shown.
func clocks(ctx context.Context, e *env) (finding, error) {
	const tolerated = 60.0
	seconds := func(s *side) (float64, error) {
		return value[float64](ctx, s, "SELECT EXTRACT(EPOCH FROM pg_catalog.clock_timestamp())::float8")
	}
	before, err := seconds(&e.src)
	if err != nil {
		return finding{}, err
	}
	there, err := seconds(&e.dst)
	if err != nil {
		return finding{}, err
	}
	after, err := seconds(&e.src)
	if err != nil {
		return finding{}, err
	}
	skew := there - (before+after)/2
	if skew > tolerated || skew < -tolerated {
		return confirm(fmt.Sprintf("the destination's clock differs by %.0f s", skew),
			"Synchronize the clocks: the delay of the task is measured with them.")
	}
	return passed("they differ by %.1f s", skew)
}

// standbys tells whether a failover of the destination to one of its standbys can be followed without a loss: only what they have is
// confirmed to the source, provided that the role may see it.
func standbys(ctx context.Context, e *env) (finding, error) {
	type sender struct {
		Hidden, Reports bool
		Name            string
	}
	list, err := read[sender](ctx, &e.dst, `SELECT r.state IS NULL,
			coalesce(pg_catalog.to_json(r) ->> 'flush_lsn', pg_catalog.to_json(r) ->> 'flush_location') IS NOT NULL, coalesce(r.application_name, '') FROM pg_catalog.pg_stat_replication r
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical') ORDER BY 3`)
	if err != nil {
		return finding{}, err
	}
	var names []string
	for _, s := range list {
		if s.Hidden {
			return finding{
				Passed, fmt.Sprintf("%s may not see the standbys: after a failover to one that lacks changes the task would have to begin anew", ident(e.dst.role)),
				fmt.Sprintf("GRANT pg_monitor TO %s;", ident(e.dst.role)),
			}, nil
		}
		if s.Reports {
			names = append(names, ident(s.Name))
		}
	}
	if len(names) > 0 {
		return passed("the source keeps what these do not have yet: %s", enumerate(names))
	}
	return passed("none")
}
