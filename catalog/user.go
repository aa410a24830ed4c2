package catalog

import "time"

// User is a user of the daemon.
type User struct {
	Name      string
	Role      string // admin, operator, monitor
	Verifier  string // PostgreSQL's form SCRAM-SHA-256$iterations:salt$stored:server; empty: no password login
	CreatedAt time.Time
}
