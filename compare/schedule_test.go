package compare_test

import (
	"testing"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/compare"
)

func TestNext(t *testing.T) {
	t.Parallel()
	const berlin, newYork = "Europe/Berlin", "America/New_York"
	for _, c := range []struct {
		name, zone, cron, now string
		want                  []string // the following runs
	}{
		{"plain", "UTC", "30 2 * * *", "2024-06-01T00:00:00Z", []string{"2024-06-01T02:30:00Z", "2024-06-02T02:30:00Z"}},
		{"now is over", "UTC", "0 0 * * *", "2024-06-01T00:00:00Z", []string{"2024-06-02T00:00:00Z"}},
		{"weekday", berlin, "0 8 * * mon-fri", "2024-06-07T12:00:00+02:00", []string{"2024-06-10T08:00:00+02:00"}},
		{"month", berlin, "0 0 31 * *", "2024-04-01T00:00:00+02:00", []string{"2024-05-31T00:00:00+02:00"}},
		{"leap day", "UTC", "0 0 29 2 *", "2024-03-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},

		{
			"Berlin: a time that is skipped", berlin, "30 2 * * *", "2024-03-30T12:00:00+01:00",
			[]string{"2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00"},
		},
		{
			"Berlin: the hour after", berlin, "0 3 * * *", "2024-03-30T12:00:00+01:00",
			[]string{"2024-03-31T03:00:00+02:00", "2024-04-01T03:00:00+02:00"},
		},
		{
			"Berlin: skipped and the hour after", berlin, "0 2,3 * * *", "2024-03-31T00:00:00+01:00",
			[]string{"2024-03-31T03:00:00+02:00", "2024-04-01T02:00:00+02:00"},
		},
		{
			"Berlin: every hour in spring", berlin, "0 * * * *", "2024-03-31T00:30:00+01:00",
			[]string{"2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00", "2024-03-31T04:00:00+02:00"},
		},
		{
			"Berlin: a time that comes twice", berlin, "30 2 * * *", "2024-10-26T12:00:00+02:00",
			[]string{"2024-10-27T02:30:00+02:00", "2024-10-28T02:30:00+01:00"},
		},
		{"Berlin: asked between the two", berlin, "30 2 * * *", "2024-10-27T02:45:00+02:00", []string{"2024-10-28T02:30:00+01:00"}},
		{"Berlin: asked in the second", berlin, "30 2 * * *", "2024-10-27T02:15:00+01:00", []string{"2024-10-28T02:30:00+01:00"}},
		{
			"Berlin: every hour in autumn", berlin, "0 * * * *", "2024-10-27T01:30:00+02:00",
			[]string{"2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00", "2024-10-27T03:00:00+01:00"},
		},
		{
			"Berlin: quarter hours in autumn", berlin, "*/30 * * * *", "2024-10-27T02:30:00+02:00",
			[]string{"2024-10-27T02:00:00+01:00", "2024-10-27T02:30:00+01:00"},
		},

		{
			"New York: a time that is skipped", newYork, "30 2 * * *", "2024-03-09T12:00:00-05:00",
			[]string{"2024-03-10T03:00:00-04:00", "2024-03-11T02:30:00-04:00"},
		},
		{
			"New York: a time that comes twice", newYork, "30 1 * * *", "2024-11-02T12:00:00-04:00",
			[]string{"2024-11-03T01:30:00-04:00", "2024-11-04T01:30:00-05:00"},
		},
		{
			"New York: every sunday", newYork, "0 1 * * sun", "2024-11-03T00:00:00-04:00",
			[]string{"2024-11-03T01:00:00-04:00", "2024-11-10T01:00:00-05:00"},
		},
		{
			"half an hour", "Australia/Lord_Howe", "45 1 * * *", "2024-04-06T12:00:00+11:00",
			[]string{"2024-04-07T01:45:00+11:00", "2024-04-08T01:45:00+10:30"},
		},

		{"a zone in the expression", "UTC", "TZ=Europe/Berlin 30 2 * * *", "2024-03-30T12:00:00Z", []string{"2024-03-31T03:00:00+02:00"}},
		{"interval", berlin, "@every 90m", "2024-03-31T01:00:00+01:00", []string{"2024-03-31T03:30:00+02:00"}},
		{"daily", berlin, "@daily", "2024-10-27T00:00:00+02:00", []string{"2024-10-28T00:00:00+01:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			location, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			now, err := time.Parse(time.RFC3339, c.now)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				next, err := compare.Next(c.cron, location, now)
				if err != nil {
					t.Fatal(err)
				}
				if got := next.Format(time.RFC3339); got != want {
					t.Fatalf("after %s comes %s, want %s", now, got, want)
				}
				now = next
			}
		})
	}
	for _, wrong := range []string{"", "* * * *", "60 * * * *", "0 0 30 2 *", "every day", "@never", "TZ=Mars/Olympus 0 0 * * *"} {
		if next, err := compare.Next(wrong, time.UTC, time.Now()); err == nil {
			t.Errorf("%q is next at %s", wrong, next)
		}
	}
}

// schedule adds a schedule of the task whose time has come.
func (l *lab) schedule(s catalog.Schedule, ago time.Duration) {
	l.Helper()
	at := time.Now().Add(-ago)
	s.TaskID, s.Enabled, s.NextRun = l.task.ID, true, &at
	if err := l.catalog.AddSchedule(l.Context(), s); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) scheduled(name string) (runs int, s catalog.Schedule) {
	l.Helper()
	if err := l.catalog.Pool().QueryRow(l.Context(), "SELECT count(*) FROM sync.sync_compares WHERE schedule = $1", name).Scan(&runs); err != nil {
		l.Fatal(err)
	}
	s, err := l.catalog.Schedule(l.Context(), name)
	if err != nil {
		l.Fatal(err)
	}
	return runs, s
}

// TestMissedRuns count once, however many there were.
func TestMissedRuns(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE t(id int); CREATE TABLE u(id int)")
	l.schedule(catalog.Schedule{Name: "hourly", Type: compare.TypeRows, Cron: "0 0 1 1 *", TimeZone: "UTC", Tables: []string{table}}, 5000*time.Hour)
	l.schedule(catalog.Schedule{Name: "once", Type: compare.TypeValues}, time.Minute)
	defer l.serve()()
	for _, name := range []string{"hourly", "once"} {
		var s catalog.Schedule
		l.eventually("it runs", func() bool { _, s = l.scheduled(name); return s.LastRunID != nil })
		run := l.await(*s.LastRunID)
		if run.State != compare.StateFinished || run.Schedule != name || run.Type != s.Type || run.TablesDone != 2-len(s.Tables) {
			t.Errorf("%s: %+v", name, run)
		}
		// Later rounds of the service find nothing to do.
		l.await(l.queue(count()))
		runs, s := l.scheduled(name)
		if runs != 1 || s.Enabled != (s.Cron != "") || s.Cron != "" && !s.NextRun.After(time.Now()) || s.Cron == "" && s.NextRun != nil {
			t.Errorf("%s ran %d times, next %v, enabled %v", name, runs, s.NextRun, s.Enabled)
		}
	}
}

// TestOverlap skips a time at which the run before has not ended.
func TestOverlap(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE t(id int)")
	l.lock()
	l.schedule(catalog.Schedule{Name: "s", Type: compare.TypeRows, Cron: "0 0 1 1 *", TimeZone: "UTC"}, time.Minute)
	defer l.serve()()
	var s catalog.Schedule
	l.eventually("it runs", func() bool { _, s = l.scheduled("s"); return s.LastRunID != nil })
	l.hangs(*s.LastRunID)
	past := time.Now().Add(-time.Second)
	if err := l.catalog.UpdateSchedule(t.Context(), "s", func(s *catalog.Schedule) error { s.NextRun = &past; return nil }); err != nil {
		t.Fatal(err)
	}
	l.eventually("the time is passed over", func() bool {
		var n int
		if err := l.catalog.Pool().QueryRow(t.Context(), "SELECT count(*) FROM sync.sync_log WHERE event = 'comparison skipped'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 1
	})
	if runs, s := l.scheduled("s"); runs != 1 || !s.NextRun.After(time.Now()) {
		t.Errorf("%d runs, next %s", runs, s.NextRun)
	}
	l.release()
	l.await(*s.LastRunID)
}

// TestClockSetBack: a schedule whose next run was made up by a wrong clock follows the right one, but a run that a small correction
// would repeat is not repeated.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	l := setup(t)
	const halfAnHour, years = 30 * time.Minute, 50000 * time.Hour
	l.schedule(catalog.Schedule{Name: "a", Type: compare.TypeRows, Cron: "* * * * *", TimeZone: "UTC"}, -halfAnHour)
	l.schedule(catalog.Schedule{Name: "b", Type: compare.TypeRows, Cron: "0 * * * *", TimeZone: "UTC"}, -years)
	l.schedule(catalog.Schedule{Name: "c", Type: compare.TypeRows}, -years)
	l.schedule(catalog.Schedule{Name: "d", Type: compare.TypeRows, Cron: "@every 2h", TimeZone: "UTC"}, -years)
	_, a := l.scheduled("a")
	_, c := l.scheduled("c")
	defer l.serve()()
	l.eventually("the last schedule follows", func() bool {
		_, d := l.scheduled("d")
		return d.NextRun.Before(time.Now().Add(2 * time.Hour))
	})
	if _, b := l.scheduled("b"); b.NextRun.After(time.Now().Add(time.Hour)) {
		t.Errorf("b runs at %s", b.NextRun)
	}
	for _, s := range []catalog.Schedule{a, c} {
		if _, now := l.scheduled(s.Name); !now.NextRun.Equal(*s.NextRun) {
			t.Errorf("%s runs at %s, not at %s", s.Name, now.NextRun, s.NextRun)
		}
	}
}

// TestLargeTables are left out of periodic counts when max_table_rows says so.
func TestLargeTables(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id; CREATE TABLE small(id int); ANALYZE")
	l.schedule(catalog.Schedule{
		Name: "s", Type: compare.TypeRows, Cron: "0 0 1 1 *", TimeZone: "UTC",
		Options: map[string]string{"max_table_rows": "500"},
	}, time.Minute)
	defer l.serve()()
	var s catalog.Schedule
	l.eventually("it runs", func() bool { _, s = l.scheduled("s"); return s.LastRunID != nil })
	run := l.await(*s.LastRunID)
	got := l.results(run.ID)
	if got[table].Result != undecided || got[table].Source != nil || got[`"public"."small"`].Result != equal {
		t.Errorf("%+v", got)
	}
}
