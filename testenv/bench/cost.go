package main

import (
	"fmt"
	"time"
)

// cost is what one piece of work took, in seconds; all but wall are of CPU time.
type cost struct{ wall, tool, source, destination float64 }

// spend does something and tells what it took. tool is the process whose CPU time is asked for beside the servers'; 0 for none.
func (l *lab) spend(tool int, f func() error) (cost, error) {
	pids := []int{l.Source.PID(), l.Destination.PID()}
	if tool != 0 {
		pids = append(pids, tool)
	}
	var used [3]float64
	for i, pid := range pids {
		used[i] = -cpuOf(pid)
	}
	begun := time.Now()
	err := f()
	wall := time.Since(begun).Seconds()
	for i, pid := range pids {
		used[i] += cpuOf(pid)
	}
	return cost{wall, used[2], used[0], used[1]}, err
}

// takeTurns measures everybody in the field once a round, and each round in another order: nobody is always first.
func takeTurns[T any](field []T, rounds int, name func(T) string, measure func(T) (cost, error)) (map[string][]cost, error) {
	say("%-15s %5s %8s %10s %10s %12s", "contender", "round", "elapsed", "CPU tool", "CPU source", "CPU destin.")
	costs := map[string][]cost{}
	for round := range rounds {
		for i := range field {
			c := field[(i+round)%len(field)]
			spent, err := measure(c)
			if err != nil {
				return nil, fmt.Errorf("round %d: %s: %w", round+1, name(c), err)
			}
			costs[name(c)] = append(costs[name(c)], spent)
			say("%-15s %5d %8.2f %10.2f %10.2f %12.2f", name(c), round+1, spent.wall, spent.tool, spent.source, spent.destination)
		}
	}
	return costs, nil
}
