package telemetry

import (
	"fmt"
	"strconv"
	"time"
)

// strftime is one piece of a time format: literal text, a layout of package time, or a number that it has no layout for.
type strftime struct {
	literal string
	layout  string
	verb    byte // 's': seconds since 1970; 'f': a fraction of digits digits
	digits  int
}

// layouts are the specifiers of strftime for which package time has a layout.
var layouts = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
	'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'z': "-0700", 'Z': "MST", 'b': "Jan", 'h': "Jan",
	'B': "January", 'a': "Mon", 'A': "Monday", 'j': "002",
}

// compileTime reads the argument of START_TIME: strftime's specifiers, and Envoy's %s, %f, %1f to %9f and their forms
// after %s, where the fraction belongs to the seconds.
func compileTime(format string) ([]strftime, error) {
	layout := []strftime{}
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			layout = append(layout, strftime{literal: format[i : i+1]})
			continue
		}
		i++
		if i == len(format) {
			return nil, fmt.Errorf("the time format %q ends in a percent sign", format)
		}
		switch c := format[i]; {
		case c == '%':
			layout = append(layout, strftime{literal: "%"})
		case c == 'n':
			layout = append(layout, strftime{literal: " "}) // a line break would end the record
		case c == 's':
			layout = append(layout, strftime{verb: 's'})
		case c == 'f':
			layout = append(layout, strftime{verb: 'f', digits: 9})
		case c >= '1' && c <= '9' && i+1 < len(format) && format[i+1] == 'f':
			layout = append(layout, strftime{verb: 'f', digits: int(c - '0')})
			i++
		case layouts[c] != "":
			layout = append(layout, strftime{layout: layouts[c]})
		default:
			return nil, fmt.Errorf("the time format has %%%c, which is not one of Y m d H M S f s F T z and their kin", c)
		}
	}
	return layout, nil
}

func appendTime(dst []byte, t time.Time, layout []strftime) []byte {
	for _, p := range layout {
		switch {
		case p.literal != "":
			dst = append(dst, p.literal...)
		case p.layout != "":
			dst = t.AppendFormat(dst, p.layout)
		case p.verb == 's':
			dst = strconv.AppendInt(dst, t.Unix(), 10)
		default:
			digits := strconv.Itoa(1_000_000_000 + t.Nanosecond())[1:]
			dst = append(dst, digits[:p.digits]...)
		}
	}
	return dst
}
