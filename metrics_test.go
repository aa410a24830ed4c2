package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// TestMetricsPage: Prometheus is told the figures of every task, and no secret.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	d := testenv.StartDaemon(t, testenv.DaemonConfig{Args: []string{"--metrics-listen", "127.0.0.1:0"}})
	log, err := os.ReadFile(d.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`http://[0-9.:]+/metrics`).FindString(string(log))
	get := func(url string) (int, string, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, answer.Header.Get("Content-Type"), string(body)
	}
	d.PSQL(t, `CREATE SYNC TASK "shop-1" FROM 'host=127.0.0.1 port=1 user=u dbname=d password=hidden-word' TO 'host=127.0.0.1 port=1 user=u dbname=d';
		CREATE SYNC TASK shop2 FROM 'host=127.0.0.1 port=1 user=u dbname=d password=hidden-word' TO 'host=127.0.0.1 port=1 user=u dbname=d'`)
	status, kind, body := get(address)
	if status != http.StatusOK || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Errorf("%d %s", status, kind)
	}
	line := regexp.MustCompile(`^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [-+.0-9e]+)$`)
	for text := range strings.Lines(body) {
		if !line.MatchString(strings.TrimSuffix(text, "\n")) {
			t.Errorf("not in the format: %s", text)
		}
	}
	for _, part := range []string{
		`pgsyncd_task_state{task="shop-1",state="configuration"} 1`, `pgsyncd_task_rows_applied_total{task="shop2"} 0`,
		"# TYPE pgsyncd_task_rows_applied_total counter", "process_resident_memory_bytes ", "pgsyncd_disk_bytes ",
	} {
		if !strings.Contains(body, part) {
			t.Errorf("%s is missing in\n%s", part, body)
		}
	}
	if strings.Contains(body, "pgsyncd_task_delay_seconds{") || strings.Contains(body, "hidden-word") {
		t.Errorf("too much is told:\n%s", body)
	}
	if status, _, _ := get(strings.TrimSuffix(address, "metrics")); status != http.StatusNotFound {
		t.Errorf("another page: %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestMetricsAddressInUse(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	server := testenv.Shared(t)
	_, stderr, code := execute(t, "serve", "--data-dir", t.TempDir(), "--catalog", server.ConnString(server.Database(t)),
		"--listen", "127.0.0.1:0", "--metrics-listen", listener.Addr().String())
	if code != 1 || !strings.Contains(stderr, "--metrics-listen") {
		t.Errorf("%d %s", code, stderr)
	}
}
