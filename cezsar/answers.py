"""The types of the JSON that the command line prints and the server answers with.

The server makes its OpenAPI description of them; the command line only needs them to be checked, and does not import
this module when it runs.
"""

from typing_extensions import NotRequired, TypedDict  # pydantic takes no others before Python 3.12


class PathFields(TypedDict):
    """A path as text; path_bytes is base64, if the path is not UTF-8 and path can only show it."""

    path: str
    path_bytes: NotRequired[str]


class SkippedFile(PathFields):
    """A file that could not be indexed, and why."""

    reason: str


class LeftOut(TypedDict):
    """How many files were left out: count suffixes by what their names end in, and texts that have a video's name."""

    count: int
    suffixes: dict[str, int]
    texts: int


class IndexAnswer(TypedDict):
    """What an indexing run did; seconds is its wall time."""

    index: str
    model: str
    added: int
    updated: int
    moved: int
    unchanged: int
    removed: int
    segments: int
    seconds: float
    skipped: list[SkippedFile]
    left_out: LeftOut


class Copies(TypedDict):
    """The other files in which the same was found, best first, if there are some."""

    copies: NotRequired[list[str]]


class PartAnswer(TypedDict):
    """A part of a hit for a question with an order; query is null if it was an example, score is in [-1, 1]."""

    query: str | None
    score: float
    start_s: float
    end_s: float
    segment_id: int


class Parts(TypedDict):
    """The parts of a hit, in order, if the question had an order."""

    parts: NotRequired[list[PartAnswer]]


class HitAnswer(PathFields, Parts, Copies):
    """A hit: score is in [-1, 1], confidence in [0, 1], or null if there is none."""

    rank: int
    score: float
    start_s: float
    end_s: float
    segment_id: int
    video_id: int
    confidence: float | None


UnderstoodAnswer = TypedDict("UnderstoodAnswer", {"query": str, "text": str, "not": list[str]})
"""A text, and what it was understood as: the words that are looked for, and those that are turned away from."""


class Otherwise(TypedDict):
    """Texts that were understood otherwise than they stand, if there are some; `literal` takes them as they are."""

    understood: NotRequired[list[UnderstoodAnswer]]


class QueryAnswer(Otherwise):
    """Hits, best first. query is null if only an example was given, threshold if there is no calibration."""

    query: str | None
    model: str
    hits: list[HitAnswer]
    nothing_like_it: bool
    threshold: float | None


class PredictionAnswer(TypedDict):
    """A label: score is in [-1, 1], confidence in [0, 1], or null if there is no calibration."""

    label: str
    score: float
    confidence: float | None


class BestLabel(TypedDict):
    """The first label, or null if none fits: only if that was asked for."""

    label: NotRequired[str | None]


class SegmentPredictionsAnswer(BestLabel):
    """The predictions for one stretch of a video, best first."""

    start_s: float
    end_s: float
    predictions: list[PredictionAnswer]


class Timeline(TypedDict):
    """The predictions for each segment of a video: only if they were asked for."""

    segments: NotRequired[list[SegmentPredictionsAnswer]]


class VideoPredictionsAnswer(PathFields, BestLabel, Timeline):
    """The predictions for one video, best first."""

    predictions: list[PredictionAnswer]


class IndexedVideoPredictionsAnswer(VideoPredictionsAnswer):
    """The predictions for one video of the index."""

    video_id: int


class UnreadableVideo(PathFields):
    """A video for which there are no predictions, and why."""

    error: str


class LabelsAnswer(TypedDict):
    """The labels, and all texts that were encoded for each."""

    model: str
    labels: list[str]
    words: dict[str, list[str]]


class ClassifyAnswer(LabelsAnswer):
    """The predictions for each video of some folders."""

    videos: list[VideoPredictionsAnswer | UnreadableVideo]


class ClassifyIndexedAnswer(LabelsAnswer):
    """The predictions for videos of the index, in the order in which they were asked for."""

    videos: list[IndexedVideoPredictionsAnswer]


class StreamAnswer(PathFields):
    """A video of which another video stream than the first was taken, with its number, from 0."""

    stream: int


class StatsAnswer(TypedDict):
    """What an index holds and which encoder made it."""

    index: str
    model: str
    dimension: int
    streams: str
    weights_sha256: str
    fps: float
    window_s: float
    stride_s: float
    videos: int
    hidden_videos: int
    segments: int
    plain_segments: int
    duration_s: float
    bytes: int
    schema: str
    cache: str
    roots: list[PathFields]
    other_streams: list[StreamAnswer]


class VideoAnswer(PathFields):
    """A video of the index."""

    video_id: int
    duration_s: float


class PlayableVideoAnswer(VideoAnswer):
    """A video; media_type is null if browsers cannot play its file as it is."""

    media_type: str | None


class VideosAnswer(TypedDict):
    """A page of videos, by id."""

    videos: list[VideoAnswer]


class SegmentAnswer(TypedDict):
    """A segment of a video."""

    segment_id: int
    start_s: float
    end_s: float


class SegmentsAnswer(TypedDict):
    """A page of a video's segments, by id."""

    segments: list[SegmentAnswer]


class SegmentOfVideoAnswer(VideoAnswer, SegmentAnswer):
    """A segment, and its video."""


class FaceAnswer(VideoAnswer):
    """A video with a segment that stands for it, null if it has none; when_s is when it was recorded or, if its file
    does not say, last changed, in seconds since 1970."""

    segment_id: int | None
    when_s: float


class FolderAnswer(PathFields):
    """A folder: how many videos are in it and below, and a segment that stands for it, null if there is none."""

    videos: int
    segment_id: int | None


class BrowseAnswer(TypedDict):
    """The folders of a folder, or those that were indexed, and a page of the videos in it and below."""

    folders: list[FolderAnswer]
    videos: list[FaceAnswer]


class OverviewAnswer(BrowseAnswer):
    """What came last, folders, and segments that differ most from one another, to search with."""

    examples: list[SegmentOfVideoAnswer]


class PickedAnswer(VideoAnswer):
    """A hit of a basket: its video, and its stretch, which ends where the video does at the latest."""

    start_s: float
    end_s: float


class LostAnswer(TypedDict):
    """A hit of a basket that is not there, and why."""

    error: str


class BasketAnswer(TypedDict):
    """The hits of a basket, in the order in which they were asked for."""

    hits: list[PickedAnswer | LostAnswer]


class ScoredSegmentAnswer(SegmentAnswer):
    """A segment, or neighbours as one, with a score in [-1, 1] for each part of the question."""

    scores: list[float]


class ScoresAnswer(VideoAnswer):
    """A video along a question: parts are its texts, null for an example; cuts_s when another shot begins."""

    parts: list[str | None]
    segments: list[ScoredSegmentAnswer]
    cuts_s: list[float]
    num_segments: int


class TimingAnswer(TypedDict):
    """How a video counts its frames: frame_rate is a fraction; frames and timecode are null if they are not known."""

    frame_rate: str
    is_steady: bool
    first_s: float
    tick_s: float
    frames: int | None
    timecode: str | None


class ExampleAnswer(TypedDict):
    """What stands for a picture in a search."""

    example: str


class HealthAnswer(TypedDict):
    """That the index can be searched, and by which model."""

    status: str
    version: str
    model: str
