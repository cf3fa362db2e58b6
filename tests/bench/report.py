"""What a measurement gave, and the table of all of them: ours beside the peers, with ratios and the figures to reach."""
import statistics


class Sample:
    """Values of one measurement; its figure is the median, its spread half of the range relative to that."""

    def __init__(self, values, best=min):
        self.values = list(values)
        self.best = best(self.values)
        self.median = statistics.median(self.values)
        self.spread = (max(self.values) - min(self.values)) / 2 / self.median if self.median else 0.0


class Report:
    def __init__(self):
        self.rows = []

    def add(self, what, ours, unit, peer=None, peer_name="", ratio=None, best=None, reach="", then=""):
        self.rows.append({
            "what": what, "unit": unit, "ours": ours.median, "oursSpread": round(ours.spread, 3),
            "peer": peer.median if peer else None, "peerSpread": round(peer.spread, 3) if peer else None,
            "peerName": peer_name, "ratio": ratio, "bestRatio": best, "reach": reach, "then": then,
        })

    def faster(self, what, ours, peer, peer_name, unit="ms", reach="", then=""):
        """Both are times or sizes: the ratio says how many times ours is smaller."""
        self.add(what, ours, unit, peer, peer_name, peer.median / ours.median, peer.best / ours.best, reach, then)

    def rate(self, what, ours, peer, peer_name, unit="rows/s", reach="", then=""):
        """Both are so many in a second."""
        self.add(what, ours, unit, peer, peer_name, ours.median / peer.median, ours.best / peer.best, reach, then)

    def print(self):
        head = ["MEASURE", "OURS", "", "PEER", "", "", "RATIO", "BEST", "REACH", "THEN"]
        lines = []
        for row in self.rows:
            lines.append([
                row["what"], shown(row["ours"], row["unit"]), f"±{row['oursSpread'] * 100:.0f}%",
                shown(row["peer"], row["unit"]) if row["peer"] is not None else "",
                f"±{row['peerSpread'] * 100:.0f}%" if row["peer"] is not None else "", row["peerName"],
                *(f"{row[name]:.2f}" if row[name] is not None else "" for name in ("ratio", "bestRatio")),
                row["reach"], row["then"],
            ])
        right = {1, 2, 3, 4, 6, 7, 8, 9}
        widths = [max(len(line[i]) for line in lines + [head]) for i in range(len(head))]
        for line in [head] + lines:
            cells = [cell.rjust(widths[i]) if i in right else cell.ljust(widths[i]) for i, cell in enumerate(line)]
            print("  ".join(cells).rstrip())


def shown(value, unit):
    if unit.endswith("/s"):
        return f"{value / 1000:.1f}k {unit}"
    if unit == "ms" and value >= 1000:
        return f"{value / 1000:.2f} s"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"
