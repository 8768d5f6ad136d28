// A new connection for each request, as many at a time as there are virtual users.
import http from 'k6/http';

export const options = {
  vus: Number(__ENV.CONNECTIONS),
  duration: __ENV.DURATION,
  noConnectionReuse: true,
  noVUConnectionReuse: true,
  insecureSkipTLSVerify: true, // spares the client the chain, which is not what is measured
  tlsVersion: 'tls1.3',
  discardResponseBodies: true,
  summaryTrendStats: ['avg', 'med', 'p(90)', 'p(99)'],
};

export default function () {
  http.get(__ENV.URL);
}

export function handleSummary(data) {
  return { [__ENV.RESULT]: JSON.stringify(data) };
}
