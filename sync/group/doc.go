// Package group runs the goroutines of a task. It is errgroup, except that a panic in one of them becomes its error: a task may fail over
// a defect of the program, the daemon and the other tasks must not.
//
// The package keeps no state besides what errgroup keeps. A panic leaves behind what the goroutine was in the middle of, so whoever is told
// of it gives the whole task's work up, closes its connections, and begins anew from what is durable.
package group
