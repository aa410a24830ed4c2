package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const hidden = "host=db password=geheim"

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	task := Task{Name: "shop", Source: hidden, Destination: hidden}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s", "%T %[1]v"} {
		fmt.Fprintf(&out, verb+"\n", task.Source)
		fmt.Fprintf(&out, verb+"\n", task)
		fmt.Fprintf(&out, verb+"\n", &task)
		fmt.Fprintf(&out, verb+"\n", []Task{task})
		fmt.Fprintf(&out, verb+"\n", map[Secret]Secret{task.Source: task.Source})
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("task", "task", task, "source", task.Source, "pointer", &task, "sources", []Secret{task.Source})
	}
	if err := json.NewEncoder(&out).Encode(map[string]any{"task": task, "pointer": &task.Source}); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"geheim", fmt.Sprintf("%x", "geheim"), fmt.Sprintf("%X", "geheim")} {
		if i := strings.Index(out.String(), form); i >= 0 {
			t.Errorf("the secret prints: %s", out.String()[max(0, i-80):i+len(form)])
		}
	}
	if task.Source.Reveal() != hidden {
		t.Error("Reveal does not reveal")
	}
}

func testKey(t *testing.T) *key {
	t.Helper()
	k, err := loadKey(filepath.Join(t.TempDir(), "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedTextBelongsToItsPlace(t *testing.T) {
	t.Parallel()
	k := testKey(t)
	sealed := k.seal("1", "source", []byte(hidden))
	if bytes.Contains(sealed, []byte("geheim")) {
		t.Error("not encrypted")
	}
	if text, err := k.open("1", "source", sealed); err != nil || string(text) != hidden {
		t.Errorf("got %q, %v", text, err)
	}
	if bytes.Equal(sealed, k.seal("1", "source", []byte(hidden))) {
		t.Error("equal texts look equal when sealed")
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"other task":   func() ([]byte, error) { return k.open("2", "source", sealed) },
		"other column": func() ([]byte, error) { return k.open("1", "destination", sealed) },
		"other key":    func() ([]byte, error) { return testKey(t).open("1", "source", sealed) },
		"changed":      func() ([]byte, error) { return k.open("1", "source", flipped) },
		"cut":          func() ([]byte, error) { return k.open("1", "source", sealed[:5]) },
		"empty":        func() ([]byte, error) { return k.open("1", "source", nil) },
	} {
		if text, err := open(); err == nil {
			t.Errorf("%s: opened as %q", name, text)
		}
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "secret.key")
	first, err := loadKey(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode() != 0o600 || info.Size() != keySize {
		t.Fatalf("made %v, %v", info, err)
	}
	again, err := loadKey(name)
	if err != nil || !bytes.Equal(first.raw, again.raw) {
		t.Errorf("second load: %v", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o601} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := loadKey(name); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, []byte("too short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(short); err == nil {
		t.Error("a short key was accepted")
	}
	if _, err := loadKey(dir); err == nil {
		t.Error("a directory was accepted")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
