package incremental

import (
	"context"
	"fmt"
)

// OIDs of further built-in types (src/include/catalog/pg_type.dat).
const (
	oidCIDR    = 650
	oidINET    = 869
	oidClock   = 1083 // time
	oidClockTZ = 1266 // timetz
	oidVarbit  = 1562

	endOfBuiltin = 10000 // OIDs below are the same everywhere (src/include/access/transam.h, FirstGenbkiObjectId)
)

// wider are the other types that hold every value of a type and say so when they do not.
var wider = map[uint32][]uint32{
	oidInt2:   {oidInt4, oidInt8, oidNumeric, oidFloat4, oidFloat8},
	oidInt4:   {oidInt8, oidNumeric, oidFloat8},
	oidInt8:   {oidNumeric},
	oidOID:    {oidInt8, oidNumeric},
	oidFloat4: {oidFloat8},
	oidJSONB:  {oidJSON},
	oidCIDR:   {oidINET},
}

// holds reports whether a column of type to takes the values of one of type from as they are. Many types refuse what they
// cannot hold; others round it, cut it off or read another meaning into its text, and nobody notices: so where the source has
// got another type than the destination, it must be known to be harmless. Types of users are left to their own judgement.
func holds(from, to uint32, fromModifier, toModifier int32) bool {
	switch {
	case from >= endOfBuiltin || to >= endOfBuiltin:
		return true
	case to == oidText, to == oidVarchar && toModifier < 0, toModifier < 0 && from == to:
		return true
	case from != to:
		for _, w := range wider[from] {
			if w == to {
				return true
			}
		}
		return false
	}
	switch to {
	case oidNumeric: // more digits before the point than there is room for are an error
		return fromModifier >= 0 && scale(toModifier) >= scale(fromModifier)
	case oidVarchar, oidBpchar, oidVarbit:
		return fromModifier >= 0 && toModifier >= fromModifier
	case oidTime, oidTimeTZ, oidClock, oidClockTZ:
		const finest = 6
		return toModifier >= finest || fromModifier >= 0 && toModifier >= fromModifier
	}
	return fromModifier == toModifier
}

// scale of a numeric's modifier (src/backend/utils/adt/numeric.c, numeric_typmod_scale).
func scale(modifier int32) int32 { return ((modifier-4)&0x7ff ^ 1024) - 1024 }

// fit refuses columns of the destination that would change values.
func (s *session) fit(ctx context.Context, t *target) error {
	for i, c := range t.columns {
		from := t.relation.columns[i]
		if !c.takes() || holds(from.typeOID, c.typeOID, from.typmod, c.typmod) {
			continue
		}
		var name string
		if err := s.conn.QueryRow(ctx, `SELECT pg_catalog.format_type($1, $2)`, from.typeOID, from.typmod).Scan(&name); err != nil {
			return fmt.Errorf("name type of column %s: %w", c.name, err)
		}
		return permanentf("column %s has type %s in the source, and %s in the destination, which may not hold its values as they are",
			c.name, name, c.typeSQL)
	}
	return nil
}
