package sqlapi

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// objectRule says what an object may look like in its place.
type objectRule struct {
	kinds    []ObjectKind
	synopsis string
	mapping  bool // AS …, required in a MAP
	mapped   bool
	filter   bool // columns and WHERE
}

var (
	fullObject = objectRule{
		kinds: []ObjectKind{Schema, TablesMatching, Table, View, MaterializedView, Sequence}, synopsis: objectSynopsis, mapping: true, filter: true,
	}
	mapItem       = objectRule{kinds: []ObjectKind{Schema, Table}, synopsis: mapSynopsis, mapping: true, mapped: true}
	exceptItem    = objectRule{kinds: []ObjectKind{Schema, TablesMatching, Table}, synopsis: patternSynopsis}
	droppedObject = objectRule{kinds: []ObjectKind{Schema, Table, View, MaterializedView, Sequence}, synopsis: droppedSynopsis}
)

// scope reads what follows FOR.
func (p *parser) scope() Scope {
	if !p.accept("ALL") {
		if p.punct(p.peek()) != '(' {
			p.unexpected(`ALL or "("`)
		}
		return Scope{Objects: p.objects(fullObject)}
	}
	s := Scope{All: true}
	if p.accept("MAP") {
		s.Map = p.objects(mapItem)
	}
	if p.accept("EXCEPT") {
		s.Except = p.objects(exceptItem)
	}
	return s
}

func (p *parser) objects(rule objectRule) []Object {
	var objects []Object
	p.list(func() {
		p.within(rule.synopsis, func() { objects = append(objects, p.object(rule)) })
	})
	return objects
}

func (p *parser) object(rule objectRule) Object {
	o := Object{Position: utf8.RuneCountInString(p.src[:p.peek().start]) + 1}
	for _, kind := range rule.kinds {
		if p.accept(strings.Fields(string(kind))...) {
			o.Kind = kind
			break
		}
	}
	switch o.Kind {
	case "":
		p.unexpected("one of " + joinKinds(rule.kinds))
		return o
	case TablesMatching:
		o.Pattern = p.checked("a pattern", checkPattern)
		return o
	default:
	}
	o.Name = p.name(o.Kind)
	switch {
	case rule.mapping && p.accept("AS"):
		o.As = p.name(o.Kind)
	case rule.mapped:
		p.unexpected("AS")
	}
	if o.Kind != Table || !rule.filter {
		return o
	}
	if p.punct(p.peek()) == '(' {
		o.Columns = p.columns()
	}
	if p.accept("WHERE") {
		o.Where = p.expression()
	}
	return o
}

func joinKinds(kinds []ObjectKind) string {
	texts := make([]string, len(kinds))
	for i, k := range kinds {
		texts[i] = string(k)
	}
	return strings.Join(texts, ", ")
}

// name reads [s.]n, or s for a schema.
func (p *parser) name(kind ObjectKind) Name {
	first := p.identifier("a name")
	if kind == Schema {
		return Name{Schema: first}
	}
	if p.op('.') {
		return Name{Schema: first, Name: p.label("a name")}
	}
	return Name{Name: first}
}

func (p *parser) columns() []Column {
	var columns []Column
	p.list(func() {
		t := p.peek()
		c := Column{Name: p.identifier("a column")}
		if p.accept("AS") {
			c.As = p.label("a column")
		}
		if slices.ContainsFunc(columns, func(x Column) bool { return x.Name == c.Name }) {
			p.fail(t, Errorf(CodeDuplicateColumn, "column %q is given twice", c.Name))
		}
		columns = append(columns, c)
	})
	return columns
}

// expression reads a parenthesized expression as text. It cannot end the statement it is put into later: parentheses and quotations
// are balanced, semicolons are refused, and no comment is at its end.
func (p *parser) expression() Expr {
	p.expectOp('(')
	first := p.i
	for depth := 1; p.err == nil; p.i++ {
		t := p.peek()
		switch op := p.punct(t); {
		case t.kind == kindEOF:
			p.unexpected(`")"`)
		case t.kind == kindParam || op == ';':
			p.unexpected("an expression without parameters and semicolons")
		case op == '(':
			depth++
		case op == ')':
			depth--
		}
		if depth == 0 || p.err != nil {
			break
		}
	}
	if p.err == nil && p.i == first {
		p.unexpected("a boolean expression")
	}
	if p.err != nil {
		return Expr{}
	}
	start, end := p.tokens[first].start, p.tokens[p.i-1].end
	e := Expr{Text: p.src[start:end], Position: utf8.RuneCountInString(p.src[:start]) + 1}
	p.i++
	if n := utf8.RuneCountInString(e.Text); n > maxExpression {
		p.fail(p.tokens[first], invalid("expression is too long").WithDetail("It has %d characters; %d are possible.", n, maxExpression))
	}
	return e
}
