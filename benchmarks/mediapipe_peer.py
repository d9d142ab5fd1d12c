"""MediaPipe's own Python pipeline on a file: run by the Python of an environment that has mediapipe 0.10.21.

    PYTHON benchmarks/mediapipe_peer.py VIDEO [HANDS]

Prints frames, frames with a hand, and the seconds that the work took, decoding included, start-up not.
"""

import sys
import time

import cv2
import mediapipe  # type: ignore[import-not-found,import-untyped,unused-ignore]


def main() -> None:
    capture = cv2.VideoCapture(sys.argv[1])
    n_frames = n_found = 0
    hands = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with mediapipe.solutions.hands.Hands(max_num_hands=hands, model_complexity=1) as pipeline:
        start, start_cpu = time.perf_counter(), time.process_time()
        while True:
            there, image = capture.read()
            if not there:
                break
            found = pipeline.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            n_frames += 1
            n_found += found.multi_hand_landmarks is not None
        print(n_frames, n_found, time.perf_counter() - start, time.process_time() - start_cpu)


if __name__ == "__main__":
    main()
