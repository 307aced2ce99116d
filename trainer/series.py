"""A curve that never grows past what a screen can show: once it is full every other point goes, the first and the last never."""

from collections.abc import Callable

MOST_POINTS = 4000


class Series(list):
    """Points (step, value), in order. Of the points that `add` got each `every`-th is kept, and the last one."""

    def __init__(self, points=()) -> None:
        super().__init__(points)
        self.every, self.count = 1, len(self)

    def add(self, point: tuple) -> None:
        if self.count and (self.count - 1) % self.every:
            self[-1] = point  # what stood there was kept only as the last
        else:
            self.append(point)
        self.count += 1
        if len(self) > MOST_POINTS:
            last = self[-1]
            del self[1::2]
            self.every *= 2
            if self[-1] is not last:
                self.append(last)

    def put(self, step: int, value: object) -> None:
        """A point at its place, which need not be the last: the look at step 0 may come after the first step."""
        if not self or step > self[-1][0]:
            self.add((step, value))
        else:
            points = [*(point for point in self if point[0] != step), (step, value)]
            self[:] = sorted(points, key=lambda point: point[0])
            self.count = (len(self) - 1) * self.every + 1

    def where(self, wanted: Callable[[tuple], bool]) -> "Series":
        """The points of which `wanted` is true."""
        found = Series(point for point in self if wanted(point))
        found.every = self.every
        found.count = max(0, (len(found) - 1) * self.every + 1)
        return found
