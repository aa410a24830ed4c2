package sqlapi

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgsyncd/catalog"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the transcripts in testdata with what the code answers now")

// TestTranscripts runs testdata/*.txt: cases separated by blank lines, each a text, a line of dashes, and the answer. The part of the
// file's name before the first dash says what answers.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	answers := map[string]func(string) string{"parse": answerParse, "check": answerCheck, "split": answerSplit}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			topic, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txt"), "-")
			answer := answers[topic]
			if answer == nil {
				t.Fatalf("nothing answers %q", topic)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for i, c := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
				text, want, _ := strings.Cut(c, "\n----")
				want = strings.TrimPrefix(want, "\n")
				got := strings.TrimRight(answer(text), "\n")
				if got != want && !*rewrite {
					t.Errorf("%s\n---- got\n%s\n---- want\n%s\n", text, got, want)
				}
				if i > 0 {
					out.WriteString("\n")
				}
				fmt.Fprintf(&out, "%s\n----\n%s\n", text, got)
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// answerParse shows a statement in canonical form with its properties, or the error.
func answerParse(text string) string {
	s, err := Parse(text)
	if err != nil {
		return showError(AsError(err), text)
	}
	f := FormOf(s)
	facts := string(f.Privilege)
	if f.Rows {
		facts += ", rows"
	}
	if f.Changes {
		facts += ", changes"
	}
	return fmt.Sprintf("%s\n(%s)", Print(s, PrintOptions{}), facts)
}

// answerCheck shows what a statement selects, as it is stored and as it is shown, or why it is refused.
func answerCheck(text string) string {
	s, err := Parse(text)
	if err == nil {
		err = supported(s)
	}
	if err == nil {
		err = acceptable(s)
	}
	if err != nil {
		return showError(AsError(err), text)
	}
	var task catalog.Task
	switch s := s.(type) {
	case *CreateTask:
		err = setSelection(&task, s.Scope, s.Accounts)
	case *AlterTask:
		action, ok := s.Action.(SetScope)
		if !ok {
			return "accepted"
		}
		err = setSelection(&task, action.Scope, Accounts{})
	}
	if err != nil {
		return showError(AsError(err), text)
	}
	shown := string(task.Definition)
	for _, m := range task.Mappings {
		shown += fmt.Sprintf("\n%s %s -> %s", m.Kind, strings.Join(m.Source, "."), strings.Join(m.Destination, "."))
	}
	return shown
}

// answerSplit shows one line per segment.
func answerSplit(text string) string {
	segments, err := Split(text)
	if err != nil {
		return showError(AsError(err), text)
	}
	var b strings.Builder
	for _, s := range segments {
		fmt.Fprintf(&b, "%s [%s] %d@%d", s.Kind, s.Head, s.Statements, s.Chars+1)
		if s.Tx {
			b.WriteString(" tx")
		}
		fmt.Fprintf(&b, " %q\n", s.Text)
		if s.Err != nil {
			b.WriteString(showError(s.Err, s.Text) + "\n")
		}
	}
	return b.String()
}

func showError(e *Error, text string) string {
	s := "ERROR " + e.Code + ": " + e.Message
	if e.Detail != "" {
		s += "\nDETAIL: " + e.Detail
	}
	if e.Hint != "" {
		s += "\nHINT: " + e.Hint
	}
	if e.Position > 0 {
		rest := []rune(text)[e.Position-1:]
		if len(rest) > 12 {
			rest = rest[:12]
		}
		s += fmt.Sprintf("\nPOSITION: %d %q", e.Position, string(rest))
	}
	return s
}
