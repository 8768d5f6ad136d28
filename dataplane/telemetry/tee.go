package telemetry

// Tee hands each record to all of its recorders in order; nil ones are left out.
func Tee(recorders ...Recorder) Recorder {
	var all tee
	for _, r := range recorders {
		if r != nil {
			all = append(all, r)
		}
	}
	return all
}

type tee []Recorder

func (t tee) Record(r *Record) {
	for _, to := range t {
		to.Record(r)
	}
}

func (t tee) Opened(r *Record) {
	for _, to := range t {
		to.Opened(r)
	}
}
