package sqlapi

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"pgsyncd/catalog"
)

func (p *parser) taskName() string { return p.identifier("a task's name") }

func (p *parser) newTaskName() string {
	t := p.peek()
	name := p.taskName()
	if p.err == nil {
		p.fail(t, checkTaskName(name))
	}
	return name
}

func (p *parser) targets() Targets {
	if p.accept("WHERE") {
		p.expect("TAG")
		t := p.tag()
		return Targets{Tag: &t}
	}
	var names []string
	p.commas(func() { names = append(names, p.taskName()) })
	return Targets{Names: names}
}

func (p *parser) secret(what string) Secret {
	t := p.peek()
	p.secretive = true
	s := p.literal(what)
	p.secretive = false
	if p.err == nil && s == "" {
		p.fail(t, invalid("%s must not be empty", what))
	}
	return Secret(s)
}

func (p *parser) side() Side {
	if p.accept("SOURCE") {
		return Source
	}
	p.expectOneOf([]string{"DESTINATION"}, "SOURCE or DESTINATION")
	return Destination
}

// expectOneOf takes one of the words and returns it.
func (p *parser) expectOneOf(words []string, expected string) string {
	for _, w := range words {
		if p.accept(w) {
			return w
		}
	}
	p.unexpected(expected)
	return ""
}

func (p *parser) mode() Mode {
	switch {
	case p.accept("FULL"):
		if !p.accept("AND") {
			return Full
		}
		p.expect("INCREMENTAL")
		return FullAndIncremental
	case p.accept("INCREMENTAL"):
		return Incremental
	}
	p.unexpected("FULL, INCREMENTAL or FULL AND INCREMENTAL")
	return ""
}

func (p *parser) accounts() Accounts {
	switch {
	case p.accept("NONE"):
		return Accounts{}
	case p.accept("ALL"):
		return Accounts{All: true}
	case p.punct(p.peek()) != '(':
		p.unexpected(`NONE, ALL or "("`)
	}
	var a Accounts
	p.list(func() {
		t := p.peek()
		role := p.identifier("a role")
		if p.err == nil {
			p.fail(t, checkRole(role, a.Roles))
		}
		a.Roles = append(a.Roles, role)
	})
	return a
}

func (p *parser) start() Start {
	switch p.expectOneOf([]string{"MANUAL", "NOW", "AT"}, "MANUAL, NOW or AT") {
	case "NOW":
		return Start{When: Now}
	case "AT":
		return Start{When: At, At: p.timestamp()}
	}
	return Start{When: Manual}
}

// timestamp reads the text of a point in time, whose validity does not depend on the task's time zone.
func (p *parser) timestamp() string {
	return p.checked("a point in time", func(text string) *Error {
		if _, err := ParseTimestamp(text, time.UTC, time.Now()); err != nil {
			return AsError(err)
		}
		return nil
	})
}

func (p *parser) confirm() Confirm {
	var c Confirm
	switch {
	case !p.accept("CONFIRM"):
	case p.accept("ALL"):
		c.All = true
	case p.punct(p.peek()) == '(':
		p.list(func() { c.Items = append(c.Items, p.literal("a precheck item")) })
	default:
		p.unexpected(`ALL or "("`)
	}
	return c
}

func (p *parser) flow() Flow {
	if p.accept("UNLIMITED") {
		return Flow{}
	}
	if !p.accept("LIMIT") {
		p.unexpected("LIMIT or UNLIMITED")
		return Flow{}
	}
	f := Flow{MBPerSecond: int(p.integer("the limit in MB", 1, maxFlow))}
	p.expect("MB", "PER", "SECOND")
	if t := p.peek(); p.accept("BETWEEN") {
		p.commas(func() {
			from := p.clock()
			p.expect("AND")
			f.Windows = append(f.Windows, Window{From: from, To: p.clock()})
		})
		if p.err == nil {
			p.fail(t, checkWindows(f.Windows))
		}
	}
	return f
}

func (p *parser) clock() int {
	t := p.peek()
	text := p.literal("a time of day")
	if p.err != nil {
		return 0
	}
	at, err := parseClock(text)
	p.fail(t, err)
	return at
}

// integer reads an unsigned integer within bounds.
func (p *parser) integer(what string, lowest, highest int64) int64 {
	t := p.peek()
	if t.kind != kindNumber {
		p.unexpected(what)
		return 0
	}
	p.i++
	n, err := strconv.ParseInt(p.src[t.start:t.end], 10, 64)
	if err != nil || n < lowest || n > highest {
		p.fail(t, invalid("%s must be an integer between %d and %d", what, lowest, highest))
	}
	return n
}

func (p *parser) tag() Tag {
	t := p.peek()
	tag := Tag{Key: p.key("a tag's key")}
	p.expectOp('=')
	tag.Value = p.literal("a tag's value")
	if p.err == nil {
		p.fail(t, checkTag(tag))
	}
	return tag
}

func (p *parser) tags() []Tag {
	var tags []Tag
	p.list(func() {
		t := p.peek()
		tag := p.tag()
		if slices.ContainsFunc(tags, func(x Tag) bool { return x.Key == tag.Key }) {
			p.fail(t, invalid("tag %q is given twice", tag.Key))
		}
		if tags = append(tags, tag); len(tags) > maxTags {
			p.fail(t, invalid("more than %d tags", maxTags))
		}
	})
	return tags
}

// options reads ( option [ = value ], … ) and returns normalized texts. known are all there are; bare allows an option without a value,
// which means true.
func (p *parser) options(known []catalog.Option, normalize func(name, text string) (string, error), bare bool) map[string]string {
	options := map[string]string{}
	p.list(func() {
		t := p.peek()
		name := p.label("an option")
		text := "true"
		if !bare || p.punct(p.peek()) == '=' {
			p.expectOp('=')
			text = p.value()
		}
		if p.err != nil {
			return
		}
		if _, twice := options[name]; twice {
			p.fail(t, Errorf(CodeSyntax, "option %q is given twice", name))
		}
		normal, err := normalize(name, text)
		if err != nil {
			p.fail(t, optionOf(known, name, optionError(err)))
		}
		options[name] = normal
	})
	return options
}

// value reads an option's value as text: a string, a number with or without sign, or a word.
func (p *parser) value() string {
	switch t := p.peek(); {
	case t.kind == kindWord:
		p.i++
		return fold(p.src[t.start:t.end])
	case t.kind == kindNumber:
		p.i++
		return p.src[t.start:t.end]
	case p.op('-'):
		return "-" + p.value()
	}
	return p.literal("a value")
}

// optionNames reads ( option, … ).
func (p *parser) optionNames() []string {
	known := catalog.TaskOptionList()
	names := optionList(known)
	var given []string
	p.list(func() {
		t := p.peek()
		name := p.label("an option")
		if p.err == nil && !slices.Contains(names, name) {
			err := &catalog.OptionError{Name: name, Message: "does not exist", Nearest: catalog.Nearest(name, names)}
			p.fail(t, optionOf(known, name, optionError(err)))
		}
		given = append(given, name)
	})
	return given
}

func optionList(options []catalog.Option) []string {
	names := make([]string, len(options))
	for i := range options {
		names[i] = options[i].Name
	}
	return names
}

// optionOf adds to the error about an option which ones there are, if it is none of them and resembles none.
func optionOf(known []catalog.Option, name string, e *Error) *Error {
	if names := optionList(known); e.Hint == "" && len(names) > 0 && !slices.Contains(names, name) {
		return e.WithHint("The options are %s.", strings.Join(names, ", "))
	}
	return e
}

// flag reads [ WITH ( name [ = boolean ] ) ].
func (p *parser) flag(name string) bool {
	if !p.accept("WITH") {
		return false
	}
	set := p.options(nil, func(option, text string) (string, error) {
		if option != name {
			return "", &catalog.OptionError{Name: option, Message: "does not exist here", Nearest: name}
		}
		return catalog.NormalizeBool(option, text)
	}, true)
	return set[name] == "true"
}
