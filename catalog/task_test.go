package catalog

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

func create(t *testing.T, c *Catalog, task Task) Task {
	t.Helper()
	created, err := c.CreateTask(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func fire(t *testing.T, c *Catalog, id string, ev Event, ch Change) Task {
	t.Helper()
	task, err := c.Fire(t.Context(), id, ev, ch)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// certificate is a self-signed one, the same at every call.
var certificate = sync.OnceValue(func() string {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
})

// full is a task with something in every field that an operator can set.
func full(name string) Task {
	at := time.Date(2031, 5, 6, 7, 8, 9, 123456000, time.UTC)
	return Task{
		Name: name, Mode: "full and incremental", Scope: "ALL", Definition: json.RawMessage(`{"all": true}`),
		SQL: "CREATE SYNC TASK x", Source: hidden, Destination: hidden + "2", SourceText: "host=a", DestinationText: "host=b",
		Options: map[string]string{"delay_threshold": "5s", "source_ssl_ca": certificate()},
		Tags:    map[string]string{"env": "prod"}, Flow: Flow{MBPerSecond: 5, Windows: []Window{{From: 1320, To: 360}}},
		Mappings: []Mapping{{Kind: "schema", Source: []string{"a"}, Destination: []string{"b"}}}, Description: "d", StartAt: &at, Confirm: []string{"a", "b"}, CreatedBy: "eve",
	}
}

func TestCreateTask(t *testing.T) {
	t.Parallel()
	c := setup(t)
	asked := full("shop")
	created := create(t, c, asked)
	if created.ID == "" || created.CreatedAt.IsZero() || created.State != StateConfiguration || created.Desired != DesiredNone {
		t.Errorf("%+v", created)
	}
	if diff := cmp.Diff(asked, created, cmpopts.IgnoreFields(Task{}, "ID", "CreatedAt", "Since", "State", "Desired")); diff != "" {
		t.Error(diff)
	}
	for _, find := range []func() (Task, error){
		func() (Task, error) { return c.Task(t.Context(), "shop") },
		func() (Task, error) { return c.TaskByID(t.Context(), created.ID) },
		func() (Task, error) {
			tasks, err := c.Tasks(t.Context())
			return tasks[0], err
		},
	} {
		found, err := find()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(created, found); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := c.CreateTask(t.Context(), asked); !errors.Is(err, ErrExists) {
		t.Errorf("second task of the name: %v", err)
	}
	if _, err := c.Task(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no task: %v", err)
	}
	minimal := create(t, c, sample("bare"))
	if minimal.Runtime != nil || len(minimal.Options) != 0 || minimal.StartAt != nil {
		t.Errorf("%+v", minimal)
	}
}

func TestSecretsAreNotStoredPlain(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, full("shop"))
	err := c.UpdateTask(t.Context(), task.ID, func(t *Task) error {
		t.Options["destination_ssl_ca"] = certificate()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range query(t, c.pool, `SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'v')
		AND relnamespace IN ('sync'::regnamespace, 'pgsyncd'::regnamespace)`) {
		found := query(t, c.pool, `SELECT r::text FROM `+table+` r
			CROSS JOIN unnest(ARRAY['geheim', $1]) s WHERE strpos(r::text, s) > 0 OR strpos(r::text, encode(s::bytea, 'hex')) > 0`, certificate()[40:80])
		if len(found) > 0 {
			t.Errorf("%s: %s", table, found)
		}
	}
	reread, err := c.TaskByID(t.Context(), task.ID)
	if err != nil || reread.Options["destination_ssl_ca"] != certificate() || reread.Options["source_ssl_ca"] != certificate() {
		t.Errorf("%v, %v", reread.Options, err)
	}
}

func TestUpdateTask(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, full("shop"))
	other := create(t, c, sample("other"))
	err := c.UpdateTask(t.Context(), task.ID, func(t *Task) error {
		t.Name, t.Source, t.ChangedBy = "store", "host=new", "bob"
		t.Options = map[string]string{"retry_limit": "7", "delay_threshold": "5s"}
		t.State, t.Desired, t.Runtime = StateCompleted, DesiredRun, json.RawMessage(`{"x":1}`)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Task(t.Context(), "store")
	if err != nil {
		t.Fatal(err)
	}
	want := task
	want.Name, want.Source, want.Options = "store", "host=new", map[string]string{"retry_limit": "7", "delay_threshold": "5s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	history := query(t, c.pool, `SELECT concat_ws(' ', task, option, coalesce(old_value, '-'), coalesce(new_value, '-'), changed_by)
		FROM sync.sync_parameter_history ORDER BY option`)
	if diff := cmp.Diff([]string{"store retry_limit - 7 bob", "store source_ssl_ca [redacted] - bob"}, history); diff != "" {
		t.Error(diff)
	}
	refused := errors.New("no")
	if err := c.UpdateTask(t.Context(), task.ID, func(*Task) error { return refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	rename := func(t *Task) error { t.Name = other.Name; return nil }
	if err := c.UpdateTask(t.Context(), task.ID, rename); !errors.Is(err, ErrExists) {
		t.Errorf("rename to a taken name: %v", err)
	}
	if err := c.UpdateTask(t.Context(), "00000000-0000-0000-0000-000000000000", rename); !errors.Is(err, ErrNotFound) {
		t.Errorf("no task: %v", err)
	}
}

func TestFire(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, full("shop"))
	at := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	if _, err := c.Fire(t.Context(), task.ID, EventSchedule, Change{}); err == nil {
		t.Error("scheduled without a time")
	}
	got := fire(t, c, task.ID, EventSchedule, Change{StartAt: &at, Confirm: []string{"*"}, By: "bob"})
	if got.State != StatePendingStart || !got.StartAt.Equal(at) || !cmp.Equal(got.Confirm, []string{"*"}) {
		t.Errorf("%+v", got)
	}
	got = fire(t, c, task.ID, EventDue, Change{})
	if got.State != StateStarting || got.Desired != DesiredRun {
		t.Errorf("%+v", got)
	}
	got = fire(t, c, task.ID, EventFullBegun, Change{Runtime: json.RawMessage(`{"slot": "s"}`)})
	if string(got.Runtime) != `{"slot": "s"}` {
		t.Errorf("runtime %s", got.Runtime)
	}
	fault := Change{Error: "no route \xff", Detail: "d\x00", Hint: "h"}
	fire(t, c, task.ID, EventFault, fault)
	fire(t, c, task.ID, EventRecoveredFull, Change{})
	fire(t, c, task.ID, EventFault, fault)
	got = fire(t, c, task.ID, EventPause, Change{By: "bob"})
	if got.State != StateFault || got.Desired != DesiredPause || got.Error != "no route \uFFFD" || got.ErrorDetail != "d" || got.Retries != 1 {
		t.Errorf("%+v", got)
	}
	since := got.Since
	got = fire(t, c, task.ID, EventFailedFull, Change{Error: "gone", Hint: "repair"})
	if got.State != StateFullFailed || got.Desired != DesiredNone || got.Error != "gone" || !got.Since.After(since) {
		t.Errorf("%+v", got)
	}
	_, err := c.Fire(t.Context(), task.ID, EventPause, Change{})
	var refused *StateError
	if !errors.As(err, &refused) || refused.State != StateFullFailed || refused.Task != "shop" {
		t.Fatalf("%v", err)
	}
	if diff := cmp.Diff([]Event{EventStart, EventResume, EventReset, EventStop, EventForceStop}, refused.Possible); diff != "" {
		t.Error(diff)
	}
	got = fire(t, c, task.ID, EventReset, Change{Runtime: json.RawMessage(`null`)})
	if got.Runtime != nil || got.Error != "" || got.Retries != 0 {
		t.Errorf("%+v", got)
	}
	log := query(t, c.pool, `SELECT concat_ws('|', task, level, event, message, replace(detail, E'\n', '/')) FROM sync.sync_log
		WHERE event NOT LIKE 'recovered%' ORDER BY time`)
	want := []string{
		"shop|info|create|task created|by eve", "shop|info|schedule|configuration → pending start|by bob",
		"shop|info|due|pending start → starting", "shop|info|full begun|starting → full synchronization",
		"shop|warning|fault|no route \uFFFD|d/h", "shop|warning|fault|no route \uFFFD|d/h",
		"shop|info|pause|pause in fault rectification|by bob", "shop|error|failed in full|gone|repair",
		"shop|info|reset|full synchronization failed → starting",
	}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Error(diff)
	}
}

// Of many who want the same step, one takes it and the others learn the state.
func TestFireConcurrently(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, sample("shop"))
	const n = 12
	won := make(chan bool, n)
	group, ctx := errgroup.WithContext(t.Context())
	for range n {
		group.Go(func() error {
			_, err := c.Fire(ctx, task.ID, EventStart, Change{})
			var refused *StateError
			won <- err == nil
			if err != nil && (!errors.As(err, &refused) || refused.State != StateStarting) {
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	count := 0
	for range n {
		if <-won {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d won", count)
	}
	if log := query(t, c.pool, "SELECT event FROM sync.sync_log WHERE event = 'start'"); len(log) != 1 {
		t.Errorf("%d steps in the log", len(log))
	}
}

// Somebody moves the task between the look and the write: the step is decided anew from where it is then.
func TestFireLooksAgain(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, sample("shop"))
	fire(t, c, task.ID, EventStart, Change{})
	fire(t, c, task.ID, EventFullBegun, Change{})
	tx, err := c.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // committed below
	if _, err := tx.Exec(t.Context(), "UPDATE pgsyncd.task SET state = 'incremental synchronization'"); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() {
		got, err := c.Fire(t.Context(), task.ID, EventFailed, Change{Error: "e"})
		if err == nil && got.State != StateIncrementalFailed {
			err = fmt.Errorf("ended in %s", got.State)
		}
		stopped <- err
	}()
	awaitSQL(t, c, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')")
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// awaitSQL waits until a query says true.
func awaitSQL(t *testing.T, c *Catalog, sql string, args ...any) {
	t.Helper()
	testenv.Eventually(t, sql, func() (done bool) {
		if err := c.pool.QueryRow(t.Context(), sql, args...).Scan(&done); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
		return done
	})
}

func TestDropErasesEverything(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, full("shop"))
	fillAll(t, c, task)
	fire(t, c, task.ID, EventStart, Change{})
	var refused *StateError
	if err := c.DropTask(t.Context(), task.ID); !errors.As(err, &refused) {
		t.Fatalf("dropped in state starting: %v", err)
	}
	fire(t, c, task.ID, EventFailed, Change{Error: "e"})
	if err := c.SetRuntime(t.Context(), task.ID, json.RawMessage(`{"slot": "s"}`)); err != nil {
		t.Fatal(err)
	}
	if err := c.DropTask(t.Context(), task.ID); !errors.As(err, &refused) {
		t.Fatalf("dropped although something was made: %v", err)
	}
	if strings.Contains(refused.Error(), "drop,") || strings.HasSuffix(refused.Error(), "drop)") {
		t.Errorf("offers what it refuses: %v", refused)
	}
	if err := c.SetRuntime(t.Context(), task.ID, json.RawMessage(`{}`)); err != nil {
		t.Fatal(err)
	}
	if err := c.DropTask(t.Context(), task.ID); err != nil {
		t.Fatal(err)
	}
	for _, table := range query(t, c.pool, `SELECT attrelid::regclass::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
		WHERE attname = 'task_id' AND relkind = 'r' AND attrelid <> 'pgsyncd.leftover'::regclass
		UNION ALL VALUES ('pgsyncd.task'), ('pgsyncd.compare_table')`) {
		if left := query(t, c.pool, "SELECT r::text FROM "+table+" r WHERE NOT (to_jsonb(r) ? 'task_id' AND to_jsonb(r) ->> 'task_id' IS NULL)"); len(left) > 0 {
			t.Errorf("%s keeps %v", table, left)
		}
	}
	if left := query(t, c.pool, "SELECT name FROM sync.sync_leftovers WHERE task = 'shop'"); len(left) != 1 {
		t.Errorf("leftovers: %v", left)
	}
	if log := query(t, c.pool, "SELECT message FROM sync.sync_log WHERE task = 'shop'"); !cmp.Equal(log, []string{"task dropped"}) {
		t.Errorf("log: %v", log)
	}
	if err := c.DropTask(t.Context(), task.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("second drop: %v", err)
	}
	for what, err := range map[string]error{
		"status":   c.SaveStatus(t.Context(), task.ID, Status{}),
		"tables":   c.SaveTables(t.Context(), task.ID, []TableStatus{{State: "done"}}),
		"conflict": c.AddConflicts(t.Context(), task.ID, []Conflict{{Time: time.Now()}}),
		"runtime":  c.SetRuntime(t.Context(), task.ID, nil),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of a dropped task: %v", what, err)
		}
	}
}

func TestEventsAreNotified(t *testing.T) {
	t.Parallel()
	c := setup(t)
	conn, err := pgx.ConnectConfig(t.Context(), c.pool.Config().ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // only listens
	if _, err := conn.Exec(t.Context(), "LISTEN sync_events"); err != nil {
		t.Fatal(err)
	}
	task := create(t, c, sample(`a "quoted" ✓ name`))
	fire(t, c, task.ID, EventStart, Change{})
	fire(t, c, task.ID, EventPause, Change{}) // changes no state: nothing to hear
	fire(t, c, task.ID, EventFailed, Change{Error: strings.Repeat("é", 9000)})
	if err := c.DropTask(t.Context(), task.ID); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][2]any{{"configuration", "starting"}, {"starting", "start failed"}, {"start failed", nil}} {
		n, err := conn.WaitForNotification(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(n.Payload), &got); err != nil {
			t.Fatal(err)
		}
		if got["task"] != task.Name || got["old"] != want[0] || got["new"] != want[1] || len(got) != 5 {
			t.Errorf("got %v", got)
		}
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(got["time"])); err != nil {
			t.Error(err)
		}
		if cause, ok := got["error"].(string); (want[1] == "start failed") != ok || ok && len(cause) != 2000 {
			t.Errorf("error %v", got["error"])
		}
	}
}
