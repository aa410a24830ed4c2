package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"pgsyncd/catalog"
	pgsync "pgsyncd/sync"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// figure is one number about every task.
type figure struct {
	name string // without the prefix pgsyncd_task_
	kind string // gauge or counter, as Prometheus understands them
	sql  string // over sync_status s and the latest minute of sync_metrics m
	help string
}

var figures = []figure{
	{"progress_percent", "gauge", "s.progress_pct", "Progress of the full phase."},
	{"rows_copied_total", "counter", "s.rows_copied", "Rows copied in the full phase."},
	{"bytes_copied_total", "counter", "s.bytes_copied", "Bytes copied in the full phase."},
	{"rows_applied_total", "counter", "s.rows_applied", "Changes applied in the incremental phase."},
	{"transactions_applied_total", "counter", "s.transactions_applied", "Transactions of the source applied in the incremental phase."},
	{"conflicts_total", "counter", "s.conflicts", "Conflicts recorded."},
	{"ddls_total", "counter", "s.ddls", "DDL statements replicated."},
	{"retries", "gauge", "s.retries", "Faults since the last start or recovery."},
	{"delay_seconds", "gauge", "s.delay_ms / 1000.0", "Commit on the source to commit in the destination."},
	{"delay_exceeded", "gauge", "s.delay_exceeded::integer", "Whether the delay is above delay_threshold."},
	{"lag_bytes", "gauge", "s.lag_bytes", "WAL between the end of the source and what is applied."},
	{"slot_wal_bytes", "gauge", "s.slot_wal_bytes", "WAL the replication slot retains on the source."},
	{"slot_wal_limit_bytes", "gauge", "s.slot_wal_limit_bytes", "WAL the slot may retain."},
	{"slot_wal_eta_seconds", "gauge", "s.slot_wal_eta_s", "Forecast of when that limit is reached."},
	{"extract_bytes_per_second", "gauge", "m.extract_bytes_per_s", "Bytes read from the source, of the latest minute."},
	{"extract_rows_per_second", "gauge", "m.extract_rows_per_s", "Rows and changes read from the source, of the latest minute."},
	{"extract_latency_seconds", "gauge", "m.extract_latency_ms / 1000", "Commit on the source to receipt, of the latest minute."},
	{"apply_bytes_per_second", "gauge", "m.apply_bytes_per_s", "Bytes of rows and changes applied, of the latest minute."},
	{"apply_rows_per_second", "gauge", "m.apply_rows_per_s", "Rows and changes applied, of the latest minute."},
	{"apply_transactions_per_second", "gauge", "m.apply_transactions_per_s", "Transactions of the source applied, of the latest minute."},
	{"apply_execute_seconds", "gauge", "m.apply_execute_ms / 1000", "Time of the statements of a transaction of the destination, of the latest minute."},
	{"apply_commit_seconds", "gauge", "m.apply_commit_ms / 1000", "Time of its COMMIT, of the latest minute."},
	{"workers", "gauge", "m.workers", "Connections that copy rows or apply changes."},
	{"net_in_bytes_per_second", "gauge", "m.net_in_bytes_per_s", "Bytes received by the task's connections, of the latest minute."},
	{"net_out_bytes_per_second", "gauge", "m.net_out_bytes_per_s", "Bytes sent by the task's connections, of the latest minute."},
}

// exporter serves the figures of the tasks in the text format of Prometheus
// (https://prometheus.io/docs/instrumenting/exposition_formats/). A figure that is not known is left out.
type exporter struct {
	catalog    *catalog.Catalog
	supervisor *pgsync.Supervisor
	log        *slog.Logger
}

const scrapeTimeout = 10 * time.Second

// serveMetrics answers on listener until ctx ends.
func serveMetrics(ctx context.Context, listener net.Listener, e exporter) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", e)
	srv := &http.Server{
		Handler: mux, ReadTimeout: scrapeTimeout, WriteTimeout: 2 * scrapeTimeout, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve metrics: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), scrapeTimeout)
		defer cancel()
		return srv.Shutdown(ending)
	})
	return g.Wait()
}

func (e exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout)
	defer cancel()
	page, err := e.page(ctx)
	if err != nil {
		e.log.Warn("collect metrics", "error", err)
		http.Error(w, "the figures cannot be read, see the daemon's log", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(page) // a client that went away needs no answer
}

// page is what a client gets.
func (e exporter) page(ctx context.Context) ([]byte, error) {
	e.supervisor.Flush(ctx)
	query := "SELECT s.task, s.state"
	for _, f := range figures {
		query += ", (" + f.sql + ")::double precision"
	}
	query += ` FROM sync.sync_status s LEFT JOIN LATERAL (SELECT * FROM sync.sync_metrics m WHERE m.task = s.task
		AND m.time > now() - interval '2 minutes' ORDER BY m.time DESC LIMIT 1) m ON true ORDER BY 1`
	rows, err := e.catalog.Pool().Query(ctx, query)
	if err != nil {
		return nil, err
	}
	type task struct {
		name, state string
		values      []*float64
	}
	tasks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (task, error) {
		t := task{values: make([]*float64, len(figures))}
		targets := []any{&t.name, &t.state}
		for i := range t.values {
			targets = append(targets, &t.values[i])
		}
		return t, row.Scan(targets...)
	})
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	head := func(name, kind, help string) {
		fmt.Fprintf(&page, "# HELP %s %s\n# TYPE %[1]s %[3]s\n", name, help, kind)
	}
	head("pgsyncd_info", "gauge", "The version of the daemon.")
	fmt.Fprintf(&page, "pgsyncd_info{version=%q} 1\n", version)
	u := e.supervisor.Usage()
	head("process_cpu_seconds_total", "counter", "Processor time of the daemon, without its catalog's server.")
	fmt.Fprintf(&page, "process_cpu_seconds_total %s\n", number(u.Processor.Seconds()))
	for _, size := range []struct {
		name, help string
		bytes      *int64
	}{
		{"process_resident_memory_bytes", "Resident memory of the daemon, likewise.", u.MemoryBytes},
		{"pgsyncd_disk_bytes", "Size of the data directory.", u.DiskBytes},
	} {
		if size.bytes != nil {
			head(size.name, "gauge", size.help)
			fmt.Fprintf(&page, "%s %d\n", size.name, *size.bytes)
		}
	}
	// Names of tasks and states hold nothing that would have to be escaped in a label.
	head("pgsyncd_task_state", "gauge", "1 for the state the task is in.")
	for _, t := range tasks {
		fmt.Fprintf(&page, "pgsyncd_task_state{task=\"%s\",state=\"%s\"} 1\n", t.name, t.state)
	}
	for i, f := range figures {
		head("pgsyncd_task_"+f.name, f.kind, f.help)
		for _, t := range tasks {
			if v := t.values[i]; v != nil {
				fmt.Fprintf(&page, "pgsyncd_task_%s{task=\"%s\"} %s\n", f.name, t.name, number(*v))
			}
		}
	}
	return page.Bytes(), nil
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
