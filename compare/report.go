package compare

import (
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"pgsyncd/catalog"
)

const (
	// reportedRows bounds the rows of a report, reportedTable those of one table. All of them are in sync_compare_rows.
	reportedRows  = 2000
	reportedTable = 200
	// reportedValue is how many characters of a value a report shows, reportedText of a definition.
	reportedValue = 200
	reportedText  = 4000
)

//go:embed report.html
var reportPage string

var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"time": func(t *time.Time) string {
		if t == nil {
			return "–"
		}
		return t.UTC().Format("2006-01-02 15:04:05 MST")
	},
	"count": func(n *int64) string {
		if n == nil {
			return "–"
		}
		return fmt.Sprint(*n)
	},
	"definition": func(text *string) string {
		if text == nil {
			return ""
		}
		return ellipsis(*text, reportedText)
	},
}).Parse(reportPage))

// report is what the page shows.
type report struct {
	Task                        catalog.Task
	Run                         catalog.CompareRun
	Made                        time.Time
	Verdict                     string // equal, different, undecided or what the run ended with
	Options                     []string
	Tables                      []reportTable
	Equal, Different, Undecided int
	Objects                     []catalog.CompareObject
	Accounts                    []catalog.CompareAccount
	Counts                      map[string]int64
	SourceRows, DestinationRows int64
}

type reportTable struct {
	catalog.CompareTable
	Rows []reportRow
	More int64 // rows that differ and are not shown
}

// reportRow is a row that differs. Values has the columns that differ, or all of a row that one side has not.
type reportRow struct {
	Kind   string
	Key    []reportField
	Values []reportField
}

// reportField is a value of either side, or of a key. Absent is a side that has not the row.
type reportField struct {
	Name                string
	Source, Destination reportValue
}

type reportValue struct {
	Absent, Null bool
	Text         string
}

// Report is a run as an HTML page that needs nothing else. It fails with catalog.ErrNotFound if there is no such run.
func (s *Service) Report(ctx context.Context, id int64) (string, error) {
	run, err := s.cfg.Catalog.Compare(ctx, id)
	if err != nil {
		return "", err
	}
	r := report{Run: run, Made: time.Now()}
	if r.Task, err = s.cfg.Catalog.TaskByID(ctx, run.TaskID); err != nil {
		return "", err
	}
	for name, value := range run.Options {
		r.Options = append(r.Options, name+" = "+value)
	}
	slices.Sort(r.Options)
	if err := s.reportTables(ctx, &r); err != nil {
		return "", err
	}
	if r.Objects, err = s.cfg.Catalog.CompareObjects(ctx, id); err != nil {
		return "", err
	}
	if r.Accounts, err = s.cfg.Catalog.CompareAccounts(ctx, id); err != nil {
		return "", err
	}
	if r.Counts, err = s.cfg.Catalog.CompareCounts(ctx, id); err != nil {
		return "", err
	}
	r.Verdict = r.verdict()
	var page strings.Builder
	if err := reportTemplate.Execute(&page, r); err != nil {
		return "", fmt.Errorf("report of comparison %d: %w", id, err)
	}
	return page.String(), nil
}

func (r *report) verdict() string {
	switch {
	case r.Run.State != StateFinished:
		return r.Run.State
	case r.Different > 0 || len(r.Objects) > int(r.Counts[ResultUndecided]) || len(r.Accounts) > 0:
		return ResultDifferent
	case r.Undecided > 0 || len(r.Objects) > 0:
		return ResultUndecided
	}
	return ResultEqual
}

// reportTables adds the outcomes of tables, what differs first, and the rows that differ.
func (s *Service) reportTables(ctx context.Context, r *report) error {
	tables, err := s.cfg.Catalog.CompareTables(ctx, r.Run.ID)
	if err != nil {
		return err
	}
	order := []string{ResultDifferent, ResultFailed, ResultUndecided, ResultEqual}
	slices.SortStableFunc(tables, func(a, b catalog.CompareTable) int {
		return slices.Index(order, a.Result) - slices.Index(order, b.Result)
	})
	left := int64(reportedRows)
	for _, t := range tables {
		entry := reportTable{CompareTable: t}
		for _, side := range []struct {
			sum  *int64
			rows *int64
		}{{&r.SourceRows, t.SourceRows}, {&r.DestinationRows, t.DestinationRows}} {
			if side.rows != nil {
				*side.sum += *side.rows
			}
		}
		switch t.Result {
		case ResultEqual:
			r.Equal++
		case ResultDifferent:
			r.Different++
			rows, err := s.cfg.Catalog.CompareRows(ctx, r.Run.ID, t.SourceTable, min(left, reportedTable))
			if err != nil {
				return err
			}
			for _, row := range rows {
				entry.Rows = append(entry.Rows, shownRow(row))
			}
			left -= int64(len(rows))
			entry.More = -int64(len(rows))
			for _, n := range []*int64{t.RowsMissing, t.RowsExtra, t.RowsDifferent} {
				if n != nil {
					entry.More += *n
				}
			}
		default:
			r.Undecided++
		}
		r.Tables = append(r.Tables, entry)
	}
	return nil
}

func shownRow(row catalog.CompareRow) reportRow {
	shown := reportRow{Kind: row.Kind}
	names := row.Columns
	if names == nil {
		for name := range row.SourceRow {
			names = append(names, name)
		}
		for name := range row.DestinationRow {
			if _, both := row.SourceRow[name]; !both {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	for name, v := range row.Key {
		shown.Key = append(shown.Key, reportField{Name: name, Source: valueOf(v)})
	}
	slices.SortFunc(shown.Key, func(a, b reportField) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range names {
		f := reportField{name, reportValue{Absent: true}, reportValue{Absent: true}}
		if row.SourceRow != nil {
			f.Source = valueOf(row.SourceRow[name])
		}
		if row.DestinationRow != nil {
			f.Destination = valueOf(row.DestinationRow[name])
		}
		shown.Values = append(shown.Values, f)
	}
	return shown
}

func valueOf(v *string) reportValue {
	if v == nil {
		return reportValue{Null: true}
	}
	return reportValue{Text: ellipsis(*v, reportedValue)}
}

// ellipsis is a text, or its beginning with a mark.
func ellipsis(text string, longest int) string {
	n := 0
	for i := range text {
		if n == longest {
			return text[:i] + "…"
		}
		n++
	}
	return text
}
