"""What is wrong with what an origin has seen, and with what a client got."""

from strict_http1 import readings
from desync_origin import marker_of


def judge_answers(case, answers):
    """Each answer that an origin has given belongs to the request in its place."""
    found = []
    if len(answers) > len(case.asks):
        found.append(f"{len(answers)} answers to {len(case.asks)} requests")
    for (method, mark), answer in zip(case.asks, answers):
        if answer is None:
            continue
        if answer.marker not in (None, mark):
            found.append(f"{mark} got the answer to {answer.marker}")
        if answer.marker is None and not 400 <= answer.status < 600:
            found.append(f"{mark} got {answer.status} from nobody")
        if answer.is_whole and answer.marker and answer.body != (b"" if method == b"HEAD" else mark):
            found.append(f"{mark} got {answer.body[:80]!r}")
    if case.must:
        got = [answer and answer.marker for answer in answers]
        if got != [mark for _, mark in case.asks]:
            statuses = [answer and answer.status for answer in answers]
            found.append(f"is good, and was answered {statuses}")
    return found


def judge(cases, records):
    """Whether the origin has seen whole what was sent whole, once, and nothing else."""
    wrong = []
    allowed = {mark: (case, body) for case in cases for mark, body in case.whole.items()}
    owners = {mark: case for case in cases for _, mark in case.asks} | {
        mark: case for mark, (case, _) in allowed.items()
    }
    seen = {}
    for record in records:
        if record.fault:
            wrong.append(f"the origin heard what is no request: {record.fault}: {bytes(record.log[-300:])!r}")
        for request in record.requests:
            mark = marker_of(request.target)
            seen[mark] = seen.get(mark, 0) + 1
            if mark not in allowed:
                case = owners.get(mark)
                of = f"{case.family}: {case.name}" if case else "nobody"
                wrong.append(f"{of}: {request.method} {request.target} was shown as whole, {request.body[:60]!r}")
            elif request.body != allowed[mark][1]:
                case, body = allowed[mark]
                wrong.append(f"{case.family}: {case.name}: content {request.body[:80]!r} for {body[:80]!r}")
        wrong += judge_readings(record)
    for mark, count in seen.items():
        if count > 1 and mark != b"/smuggled":
            wrong.append(f"{mark} was seen {count} times")
    for case in cases:
        missing = [mark for mark in case.whole if mark not in seen] if case.must else []
        if missing:
            wrong.append(f"{case.family}: {case.name}: the origin has not seen {missing}")
    return wrong


def judge_readings(record):
    """Origins that read carelessly see the same requests."""
    if record.fault or record.log.startswith(b"PRI "):
        return []
    strict = [(request.method, request.target) for request in record.requests]
    return [
        f"where {name}, an origin sees {len(found)} requests for {len(strict)}"
        for name, found in readings(record.log).items()
        if found != strict
    ]
