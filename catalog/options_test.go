package catalog

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOptionDefaults(t *testing.T) {
	t.Parallel()
	got, err := ParseTaskOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := TaskOptions{
		ConflictPolicy: "error", SyncIndexes: true, PopulateMatviews: true, Decoder: "auto", SplitTableAbove: 256 << 20, CopyFormat: "auto",
		ExistingObjects: "fail", FullConflicts: "ignore", SequenceMargin: 10000, RetryLimit: 3, HeartbeatInterval: 10 * time.Second,
		ApplyWorkers: 2, DelayThreshold: time.Minute, OnMaxSlotWAL: "warn", HistoryRetention: 30 * 24 * time.Hour, LargeObjects: true,
	}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	rows, err := ParseCompareOptions("ROWS", nil)
	if want := (CompareOptions{TimeLimit: time.Hour, MaxDelay: 30 * time.Second, MaxReportedRows: 1000, ManyToOne: true}); err != nil || rows != want {
		t.Errorf("got %+v, %v; want %+v", rows, err, want)
	}
	for _, o := range []struct {
		kind, limit string
		want        time.Duration
	}{{"VALUES", "", 0}, {"ROWS", "none", 0}, {"ROWS", "5 min", 5 * time.Minute}} {
		texts := map[string]string{}
		if o.limit != "" {
			texts["time_limit"] = o.limit
		}
		if got, err := ParseCompareOptions(o.kind, texts); err != nil || got.TimeLimit != o.want {
			t.Errorf("%s with %q: %v, %v", o.kind, o.limit, got.TimeLimit, err)
		}
	}
}

// TestDefaultsAreNormalized makes sure that an option set to its default shows as its default.
func TestDefaultsAreNormalized(t *testing.T) {
	t.Parallel()
	check := func(options []Option, normalize func(name, text string) (string, error)) {
		for _, o := range options {
			if o.Default == "" {
				continue
			}
			if got, err := normalize(o.Name, o.Default); err != nil || got != o.Default {
				t.Errorf("%s: default %q becomes %q, %v", o.Name, o.Default, got, err)
			}
		}
	}
	check(TaskOptionList(), NormalizeTaskOption)
	check(CompareOptionList(), NormalizeCompareOption)
}

func TestNormalizeOption(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"sync_ddl", "ON", "true"},
		{"sync_ddl", " 0 ", "false"},
		{"decoder", "PGOUTPUT", "pgoutput"},
		{"copy_workers", "08", "8"},
		{"split_table_above", "1gb", "1 GB"},
		{"split_table_above", "8192", "8192 B"},
		{"split_table_above", "16kb", "16 kB"},
		{"max_slot_wal", "none", "none"},
		{"heartbeat_interval", "30", "30s"},
		{"heartbeat_interval", "5 minutes", "5min"},
		{"heartbeat_interval", "500ms 500 ms", "1s"},
		{"heartbeat_interval", "01:30", "90min"},
		{"heartbeat_interval", "1h 30m", "90min"},
		{"history_retention", "1 DAY", "1 day"},
		{"history_retention", "48 hours", "48h"},
		{"history_retention", "1 week", "1 week"},
		{"history_retention", "1 week 1 day", "8 days"},
		{"sequence_margin", "0", "0"},
		{"time_zone", "Europe/Berlin", "Europe/Berlin"},
	} {
		got, err := NormalizeTaskOption(c.name, c.text)
		if err != nil || got != c.want {
			t.Errorf("%s = %q: got %q, %v; want %q", c.name, c.text, got, err, c.want)
		}
		if again, err := NormalizeTaskOption(c.name, got); err != nil || again != got {
			t.Errorf("%s = %q: becomes %q, %v the second time", c.name, got, again, err)
		}
	}
	for _, c := range []struct{ name, text string }{
		{"sync_ddl", "maybe"},
		{"sync_ddl", ""},
		{"decoder", "wal2json"},
		{"copy_workers", "0"},
		{"copy_workers", "257"},
		{"copy_workers", "none"},
		{"split_table_above", "none"},
		{"split_table_above", "-1"},
		{"split_table_above", "1 PB"},
		{"split_table_above", "99999999999 TB"},
		{"heartbeat_interval", "none"},
		{"heartbeat_interval", "0"},
		{"heartbeat_interval", "2 days"},
		{"heartbeat_interval", "1 month"},
		{"heartbeat_interval", "5 5"},
		{"heartbeat_interval", "1h x"},
		{"heartbeat_interval", "9999999999999 days"},
		{"heartbeat_interval", ""},
		{"time_zone", "Mars"},
		{"time_zone", "Local"},
		{"time_zone", ""},
		{"sequence_margin", "-1"},
		{"sequence_margin", "1e3"},
		{"source_ssl_ca", "x"},
		{"source_ssl_ca", strings.Repeat("x", maxCertificates+1)},
		{"source_ssl_ca", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
		{"source_ssl_ca", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
	} {
		got, err := NormalizeTaskOption(c.name, c.text)
		o, ok := errors.AsType[*OptionError](err)
		if !ok || o.Name != c.name || o.Value != c.text || got != "" {
			t.Errorf("%s = %.20q: got %q, %v", c.name, c.text, got, err)
		}
	}
}

func TestUnknownOption(t *testing.T) {
	t.Parallel()
	for name, nearest := range map[string]string{"sync_dll": "sync_ddl", "copyworkers": "copy_workers", "heartbeat": "heartbeat_interval", "colour": ""} {
		_, err := ParseTaskOptions(map[string]string{name: "1"})
		if o, ok := errors.AsType[*OptionError](err); !ok || o.Nearest != nearest {
			t.Errorf("%s: %+v, want nearest %q", name, err, nearest)
		}
	}
}

func TestChangeableStatesExist(t *testing.T) {
	t.Parallel()
	for _, o := range TaskOptionList() {
		if o.Description == "" || !strings.HasSuffix(o.Description, ".") {
			t.Errorf("%s: description %q", o.Name, o.Description)
		}
		if !o.Changeable(StateConfiguration) || o.Changeable(StateCompleted) {
			t.Errorf("%s: changeable in %v", o.Name, o.ChangeableIn)
		}
		for _, s := range o.ChangeableIn {
			if !slices.Contains(States, s) {
				t.Errorf("%s: state %q", o.Name, s)
			}
		}
	}
}

func TestFormatDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1ms", 90 * time.Second: "90s", time.Minute: "1min", 36 * time.Hour: "36h", 24 * time.Hour: "1 day", 14 * 24 * time.Hour: "14 days",
	} {
		got := FormatDuration(d)
		if back, err := ParseDuration(got); got != want || back != d || err != nil {
			t.Errorf("%d: %q, want %q; reads back as %v, %v", d, got, want, back, err)
		}
	}
}

// TestZoneNames: what is stored of a zone means the same elsewhere.
func TestZoneNames(t *testing.T) {
	t.Parallel()
	if name := Zone("Europe/Berlin").Name(); name != "Europe/Berlin" {
		t.Error(name)
	}
	if name := Zone("").Name(); name == "Local" || name != "" && CheckTimeZone(name) != nil {
		t.Errorf("the daemon's zone is called %q", name)
	}
}
