package main

import (
	"context"
	"fmt"
)

// giantMemoryBar is what the daemon may take while a transaction passes, however large that is; half of it would be excellent.
const giantMemoryBar = 256 << 20

// reportSpeeds prints medians and bars, and returns how many of these are missed.
func reportSpeeds(turns map[string]turn, scale float64) (missed int) {
	if len(turns) == 0 {
		return 0
	}
	say("")
	say("medians")
	for _, w := range workloads {
		for _, p := range peers {
			costs := turns[w.name][p.name]
			if len(costs) == 0 {
				continue
			}
			of := func(part func(cost) float64) float64 { return medianOf(costs, part) }
			wall := of(func(c cost) float64 { return c.wall })
			say("%-10s %-8s %5s %8.2f %10.0f %9.2f %11.2f %12.2f   %s", w.name, p.name, "", wall, float64(w.units(scale))/wall,
				of(func(c cost) float64 { return c.tool }), of(func(c cost) float64 { return c.source }),
				of(func(c cost) float64 { return c.destination }), w.explanation)
		}
	}
	say("")
	say("pgsyncd's speed as a multiple of native's, median of the rounds' ratios")
	wall := func(c cost) float64 { return c.wall }
	for _, w := range workloads {
		var ratios []float64
		for i, c := range turns[w.name][ours] {
			ratios = append(ratios, turns[w.name][native][i].wall/c.wall)
		}
		remark := fmt.Sprintf("%.2f", ratios)
		if len(ratios) > 0 {
			remark += fmt.Sprintf("; CPU of all parties %.2f ×", medianOf(turns[w.name][ours], cost.cpu)/medianOf(turns[w.name][native], cost.cpu))
		}
		if starts := turns[nothing]; len(ratios) > 0 && starts != nil && w.name != nothing {
			remark += fmt.Sprintf("; %.2f without what it takes to get going",
				(medianOf(turns[w.name][native], wall)-medianOf(starts[native], wall))/(medianOf(turns[w.name][ours], wall)-medianOf(starts[ours], wall)))
		}
		switch {
		case len(ratios) == 0:
		case w.limit == 0:
			say("%-18s %6.2f   %45s %s", w.name, median(ratios), "", remark)
		default:
			missed += judge(w.name, median(ratios), w.limit, w.stretch, remark)
		}
	}
	return missed
}

func (c cost) cpu() float64 { return c.tool + c.source + c.destination }

func medianOf(costs []cost, part func(cost) float64) float64 {
	var all []float64
	for _, c := range costs {
		all = append(all, part(c))
	}
	return median(all)
}

// benchGiantMemory prints the daemon's peak memory for a transaction, and for one twice as large.
func (s *stage) benchGiantMemory(ctx context.Context) (missed int, err error) {
	say("")
	say("peak memory of the daemon, started anew for each transaction")
	var giant workload
	for _, w := range workloads {
		if w.name == "giant" {
			giant = w
		}
	}
	for _, times := range []int{1, 2} {
		rows := times * giant.units(s.scale)
		if err := s.settle(ctx, giant); err != nil {
			return missed, err
		}
		if err := s.writeGiant(ctx, rows); err != nil {
			return missed, err
		}
		if err := s.writeMark(ctx); err != nil {
			return missed, err
		}
		if err := s.Daemon.Restart(ctx); err != nil {
			return missed, err
		}
		spent, err := s.take(ctx, peers[len(peers)-1], giant)
		if err != nil {
			return missed, err
		}
		peak, err := peakMemory(s.Daemon.PID())
		if err != nil {
			return missed, err
		}
		missed += judge(fmt.Sprintf("%d rows, MiB", rows), float64(peak)/(1<<20), giantMemoryBar>>20, giantMemoryBar>>21,
			fmt.Sprintf("%.2f s", spent.wall))
	}
	return missed, nil
}
