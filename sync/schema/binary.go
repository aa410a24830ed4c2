package schema

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// stableTypes are the built-in types whose binary form has never changed and refers to no OID, setting or encoding other than
// client_encoding. xml (which announces an encoding of its own), tsquery (whose receive function refuses an empty one), the reg*
// types and the snapshot types are left to the text form.
var stableTypes = map[uint32]bool{
	pgtype.BoolOID: true, pgtype.ByteaOID: true, pgtype.QCharOID: true, pgtype.NameOID: true,
	pgtype.Int2OID: true, pgtype.Int4OID: true, pgtype.Int8OID: true, pgtype.OIDOID: true,
	pgtype.Float4OID: true, pgtype.Float8OID: true, pgtype.NumericOID: true, 790: true, // money: the bare integer
	pgtype.TextOID: true, pgtype.VarcharOID: true, pgtype.BPCharOID: true,
	pgtype.JSONOID: true, pgtype.JSONBOID: true, pgtype.JSONPathOID: true, pgtype.UUIDOID: true,
	pgtype.PointOID: true, pgtype.LsegOID: true, pgtype.PathOID: true, pgtype.BoxOID: true,
	pgtype.PolygonOID: true, pgtype.LineOID: true, pgtype.CircleOID: true,
	pgtype.InetOID: true, pgtype.CIDROID: true, pgtype.MacaddrOID: true, pgtype.Macaddr8OID: true,
	pgtype.BitOID: true, pgtype.VarbitOID: true, pgtype.TSVectorOID: true,
	3220:                true, // pg_lsn
	pgtype.Int4rangeOID: true, pgtype.NumrangeOID: true, pgtype.Int8rangeOID: true, pgtype.DaterangeOID: true,
	pgtype.Int4multirangeOID: true, pgtype.NummultirangeOID: true, pgtype.Int8multirangeOID: true,
	pgtype.DatemultirangeOID: true, pgtype.DateOID: true,
}

// clockTypes may be floating point in servers before 10, which could be built either way.
var clockTypes = map[uint32]bool{
	pgtype.TimeOID: true, pgtype.TimetzOID: true, pgtype.TimestampOID: true, pgtype.TimestamptzOID: true, pgtype.IntervalOID: true,
	pgtype.TsrangeOID: true, pgtype.TstzrangeOID: true, pgtype.TsmultirangeOID: true, pgtype.TstzmultirangeOID: true,
}

// typeTable resolves types to built-in ones.
type typeTable struct {
	version int
	types   map[uint32]typeRow
}

type typeRow struct {
	OID     uint32
	Type    string // pg_type.typtype
	Base    uint32 // of a domain
	Element uint32 // of a built-in array
}

func readTypes(ctx context.Context, q Querier, version int) (typeTable, error) {
	list, err := query(ctx, q, typesSQL, nil, pgx.RowToStructByPos[typeRow])
	t := typeTable{version: version, types: make(map[uint32]typeRow, len(list))}
	for _, row := range list {
		t.types[row.OID] = row
	}
	return t, err
}

// binarySafe reports whether values of the type may travel in binary form. A domain sends its base type, an enum its label, a built-in
// array the fixed OID of its element; arrays of user types and composites carry OIDs that differ between databases.
func (t typeTable) binarySafe(oid uint32) bool {
	if clockTypes[oid] {
		return t.version >= 100000
	}
	row := t.types[oid]
	switch {
	case stableTypes[oid], row.Type == "e":
		return true
	case row.Type == "d":
		return t.binarySafe(row.Base)
	case row.Element != 0:
		return t.binarySafe(row.Element)
	}
	return false
}
