package incremental

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
)

// TestStandbysHoldBack goes through the life of standbys as they are seen from the destination: what may be confirmed to the source is
// what all have that are waited for.
func TestStandbysHoldBack(t *testing.T) {
	t.Parallel()
	var told []string
	s := &standbys{
		cfg: Config{Logger: slog.New(slog.DiscardHandler), Notice: func(_ context.Context, event, message, _ string) {
			told = append(told, event+": "+message)
		}},
		progress: newProgress(), known: map[string]*standby{},
	}
	begin := time.Unix(0, 0)
	// One look: the seconds since the beginning, the ledger's position, the end of the destination's WAL, and how far each standby is that
	// can be seen.
	steps := []struct {
		at           int
		durable, end pglogrepl.LSN
		seen         map[string]pglogrepl.LSN
		want         pglogrepl.LSN
		what         string
	}{
		{0, 10, 1000, nil, 10, "no standby"},
		{1, 11, 1100, map[string]pglogrepl.LSN{"a": 1100, "b": 1050}, 11, "they were not known before"},
		{2, 12, 1200, map[string]pglogrepl.LSN{"a": 1200, "b": 1100}, 11, "b has the first commit"},
		{3, 12, 1200, map[string]pglogrepl.LSN{"a": 1200, "b": 1200}, 12, "b has all"},
		{4, 13, 1300, map[string]pglogrepl.LSN{"a": 1300}, 12, "b is gone, and may be about to take over"},
		{60, 14, 1400, map[string]pglogrepl.LSN{"a": 1400}, 12, "for not quite a minute"},
		{65, 15, 1500, map[string]pglogrepl.LSN{"a": 1500}, 15, "after a minute it is not waited for"},
		{66, 16, 1600, map[string]pglogrepl.LSN{"a": 1600, "b": 1300}, 15, "it is back, and waited for like a new one"},
		{67, 16, 1600, map[string]pglogrepl.LSN{"a": 1600, "b": 1600}, 16, "it has caught up"},
		{70, 17, 1700, map[string]pglogrepl.LSN{"a": 1600, "b": 1700}, 16, "a stands still"},
		{131, 18, 1800, map[string]pglogrepl.LSN{"a": 1600, "b": 1800}, 18, "for more than a minute, though it is there"},
		{132, 19, 1900, map[string]pglogrepl.LSN{"a": 1700, "b": 1900}, 19, "it moves, but has not caught up"},
		{133, 19, 1900, map[string]pglogrepl.LSN{"a": 1900, "b": 1900}, 19, "it has"},
		{134, 20, 2000, map[string]pglogrepl.LSN{"a": 1900, "b": 2000}, 19, "and is waited for again"},
		{200, 20, 2000, nil, 20, "both are gone, and a without the last"},
		{201, 21, 2100, nil, 20, "which b has, but not this one"},
		{262, 22, 2200, nil, 22, "nobody is waited for"},
		{263, 23, 2300, nil, 23, "at once"},
	}
	for _, step := range steps {
		for _, sb := range s.known {
			sb.present = false
		}
		s.progress.update(func(p *Progress) { p.Confirmed = max(p.Confirmed, step.durable) })
		for name, flushed := range step.seen {
			s.seen(name, flushed)
		}
		s.move(t.Context(), step.durable, step.end, begin.Add(time.Duration(step.at)*time.Second))
		if got := s.progress.read().Confirmed; got != step.want {
			t.Errorf("after %d s, %s: confirmed is %d, want %d", step.at, step.what, got, step.want)
		}
	}
	if len(told) != 4 {
		t.Errorf("%d notices, want one for each time that one is not waited for any longer: %q", len(told), told)
	}
}
