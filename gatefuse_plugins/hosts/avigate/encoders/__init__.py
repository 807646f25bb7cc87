"""Encoders of frames, captions and sound; modules with ``output_dim``.

Frame encoders map (n, 3, S, S) to (n, D), text encoders captions to (B, N, D) and audio encoders spectrograms
(B, T, M) to (B, A, D). The last two have ``token_mask``, which takes the captions, or the mask (B, T) of the frames.
"""

import gatefuse_plugins.hosts.avigate.encoders.rules  # noqa: F401 (registers the config checks)
from gatefuse_plugins.hosts.avigate.encoders.ast import ASTAudioEncoder
from gatefuse_plugins.hosts.avigate.encoders.clip import CLIPFrameEncoder, CLIPTextEncoder
from gatefuse_plugins.hosts.avigate.encoders.clip4clip import migrate_clip4clip
from gatefuse_plugins.hosts.avigate.encoders.tiny import TinyAudioEncoder, TinyFrameEncoder, TinyTextEncoder
from gatefuse_plugins.hosts.avigate.encoders.words import WordTokenizer, write_vocabulary

__all__ = [
    "ASTAudioEncoder",
    "CLIPFrameEncoder",
    "CLIPTextEncoder",
    "TinyAudioEncoder",
    "TinyFrameEncoder",
    "TinyTextEncoder",
    "WordTokenizer",
    "migrate_clip4clip",
    "write_vocabulary",
]
