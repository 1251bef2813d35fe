package strictyaml

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// MaxList is how many entries a list that Decode fills may have.
const MaxList = 1000

// Defaulter is a value that a file makes, by naming its key, and that doesn't begin
// with zeros.
type Defaulter interface{ SetDefaults() }

// Decode reads n into what v points to, and tells what is wrong with it under the
// key at. A struct's fields are named by their tag yaml; those that allow only some
// words list these in the tag enum. A pointer is made by its key, even without a
// value; anything else keeps what it has if there is none, but an entry of a list or
// map has to have one. One text may stand for a list of one.
//
// Types are struct, pointer, slice, map of string, string, bool, int (from 0),
// time.Duration (from 0) and encoding.TextUnmarshaler.
func (r *Reader) Decode(n *Node, at string, v any) {
	r.value(n, reflect.ValueOf(v).Elem(), at, "")
}

// Fields returns the indexes of a struct's fields by their names in a file, and
// these in order.
func Fields(t reflect.Type) (byName map[string]int, names []string) {
	byName = map[string]int{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		byName[name] = i
		names = append(names, name)
	}
	return byName, names
}

func (r *Reader) value(n *Node, v reflect.Value, at, enum string) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		if d, ok := v.Interface().(Defaulter); ok {
			d.SetDefaults()
		}
		v = v.Elem()
	}
	if IsNull(n) {
		return
	}
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case isText:
		r.scalar(n, v, at, enum)
	case v.Kind() == reflect.Struct:
		r.structure(n, v, at)
	case v.Kind() == reflect.Slice:
		r.slice(n, v, at)
	case v.Kind() == reflect.Map:
		r.textMap(n, v, at)
	default:
		r.scalar(n, v, at, enum)
	}
}

func (r *Reader) structure(n *Node, v reflect.Value, at string) {
	known, names := Fields(v.Type())
	r.Mapping(n, at, func(key *Node, name string, value *Node) {
		i, ok := known[key.Value]
		if !ok {
			r.Unknown(key, name, names)
			return
		}
		r.value(value, v.Field(i), name, v.Type().Field(i).Tag.Get("enum"))
	})
}

func (r *Reader) slice(n *Node, v reflect.Value, at string) {
	if n.Kind == yaml.ScalarNode && v.Type().Elem().Kind() == reflect.String {
		one := reflect.MakeSlice(v.Type(), 1, 1)
		r.value(n, one.Index(0), at, "")
		v.Set(one)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	r.List(n, at, MaxList, func(i int, name string, item *Node) { r.entry(item, out.Index(i), name) })
	v.Set(out)
}

func (r *Reader) textMap(n *Node, v reflect.Value, at string) {
	out := reflect.MakeMap(v.Type())
	r.Mapping(n, at, func(key *Node, name string, value *Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		r.entry(value, item, name)
		out.SetMapIndex(reflect.ValueOf(key.Value), item)
	})
	v.Set(out)
}

// entry is value for what is part of a list or a map, which has nothing to keep.
func (r *Reader) entry(n *Node, v reflect.Value, at string) {
	if IsNull(n) {
		r.Errorf(n, at, "stands here without a value")
		return
	}
	r.value(n, v, at, "")
}

func (r *Reader) scalar(n *Node, v reflect.Value, at, enum string) {
	text, ok := r.Scalar(n, at)
	if !ok {
		return
	}
	if enum != "" {
		if allowed := strings.Split(enum, ","); !slices.Contains(allowed, text) {
			r.Errorf(n, at, "%q is none of %s%s", text, strings.Join(allowed, ", "), nearest(text, allowed))
			return
		}
	}
	if err := set(v, text); err != nil {
		r.Errorf(n, at, "%v", err)
	}
}

// nearest is Hint where the known words have been told already.
func nearest(word string, known []string) string {
	if hint := Hint(word, known); strings.HasSuffix(hint, "?") {
		return hint
	}
	return ""
}

func set(v reflect.Value, text string) error {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is no time: write one such as 500ms, 10s or 1h", text)
		}
		v.SetInt(int64(d))
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(text == "true")
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no number from 0 to 2147483647", text)
		}
		v.SetInt(n)
	default:
		panic("strictyaml: a field of type " + v.Type().String()) // a mistake of the program
	}
	return nil
}
