package sqlapi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// seeds adds the texts of the transcripts that are for topic.
func seeds(f *testing.F, topic string) {
	f.Helper()
	files, err := filepath.Glob("testdata/" + topic + "-*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no transcripts for %s: %v", topic, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for c := range strings.SplitSeq(string(data), "\n\n") {
			text, _, _ := strings.Cut(c, "\n----")
			f.Add(text)
		}
	}
}

// FuzzSplit checks that segments lie in the text in order, that only comments and semicolons are between them, and that each of
// them splits into itself.
func FuzzSplit(f *testing.F) {
	seeds(f, "split")
	seeds(f, "parse")
	f.Fuzz(func(t *testing.T, text string) {
		segments, err := Split(text)
		if err != nil {
			if e := AsError(err); e.Code != CodeSyntax || e.Position < 1 || e.Position > utf8.RuneCountInString(text)+1 {
				t.Fatalf("%+v", e)
			}
			return
		}
		at := 0
		for _, s := range segments {
			if s.Start < at || text[s.Start:s.Start+len(s.Text)] != s.Text || s.Chars != utf8.RuneCountInString(text[:s.Start]) {
				t.Fatalf("segment %+v after offset %d", s, at)
			}
			if gap, err := Split(text[at:s.Start]); err != nil || gap[0].Kind != Empty {
				t.Fatalf("%q is left out: %v", text[at:s.Start], err)
			}
			at = s.Start + len(s.Text)
			again, err := Split(s.Text)
			if err != nil || len(again) != 1 || again[0].Kind != s.Kind || again[0].Statements != s.Statements {
				t.Fatalf("%+v splits into %+v, %v", s, again, err)
			}
			if (s.Kind == Refused) != (s.Err != nil) {
				t.Fatalf("%+v", s)
			}
		}
	})
}

// FuzzParse checks that what parses prints to something that parses to the same.
func FuzzParse(f *testing.F) {
	seeds(f, "parse")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			e := AsError(err)
			if e.Code == CodeInternal || e.Position > utf8.RuneCountInString(text)+1 {
				t.Fatalf("%+v", e)
			}
			return
		}
		printed := Print(s, PrintOptions{})
		back, err := Parse(printed)
		if err != nil {
			t.Fatalf("%s\n%v", printed, err)
		}
		if diff := cmp.Diff(s, back, sameStatement); diff != "" {
			t.Fatalf("%s\n%s", printed, diff)
		}
	})
}
