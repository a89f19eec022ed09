// A video that is played from any second on: its file, or parts of it, one after another, where no browser plays that.

import { address, ask, stretch, told } from "./talk.js";

const partLength = 12; // seconds

export class Screen {
  // tells is called when the time, or whether it plays, may be another
  constructor(player, tells) {
    this.player = player;
    this.tells = tells;
    this.video = null;
    this.wants = false; // to play
    this.from = 0; // where the part begins
    this.to = null; // where to go once it is there
    player.addEventListener("loadedmetadata", () => {
      if (this.to !== null) player.currentTime = Math.max(0, this.to - this.from);
      this.to = null;
      if (this.wants) this.play();
    });
    player.addEventListener("ended", () => this.goOn());
    player.addEventListener("playing", () => this.prepare());
    for (const name of ["timeupdate", "seeking", "play", "pause", "playing"]) player.addEventListener(name, tells);
  }

  async open(id, start, { plays = true } = {}) {
    // Throws an error with one line if there is no such video any more. Returns it, or null if another one was opened.
    this.close();
    const mine = this.asked = {};
    const video = await told(`/videos/${id}`);
    if (this.asked !== mine) return null;
    this.video = video;
    this.wants = plays;
    if (video.media_type) {
      this.from = 0;
      this.to = start;
      this.player.src = address(`/videos/${id}/stream`);
    } else {
      this.seek(start);
    }
    return video;
  }

  close() {
    this.asked = this.video = null;
    this.wants = false;
    this.to = null;
    this.player.pause();
    this.player.removeAttribute("src");
    this.player.load();
  }

  get isWhole() {
    return Boolean(this.video?.media_type);
  }

  get time() {
    return this.to ?? this.from + this.player.currentTime;
  }

  get isPlaying() {
    return this.wants;
  }

  play() {
    if (!this.video) return;
    this.wants = true;
    this.player.play().catch(() => {}); // it was stopped, or has no source yet
    this.tells();
  }

  pause() {
    this.wants = false;
    this.player.pause();
    this.tells();
  }

  seek(time) {
    if (!this.video) return;
    const there = Math.min(Math.max(0, time), Math.max(0, this.video.duration_s - 0.02));
    if (this.isWhole) {
      if (this.player.readyState) this.player.currentTime = there; else this.to = there;
    } else {
      const rate = this.player.playbackRate;
      const first = Math.floor(there / partLength) * partLength;
      const place = this.part(first);
      if (this.player.src.endsWith(place)) {
        if (this.player.readyState) this.player.currentTime = there - first; else this.to = there;
      } else {
        this.from = first;
        this.to = there;
        this.player.src = address(place);
        this.player.playbackRate = rate;
      }
    }
    this.tells();
  }

  part(first) {
    return stretch(this.video.video_id, first, Math.min(first + partLength, this.video.duration_s));
  }

  goOn() {
    // after the end of a part comes the next one
    const next = this.from + partLength;
    if (this.isWhole || !this.video || next >= this.video.duration_s) this.pause(); else this.seek(next);
  }

  prepare() {
    // the next part is made while this one plays
    const next = this.from + partLength;
    if (!this.video || this.isWhole || next >= this.video.duration_s) return;
    ask(this.part(next), { headers: { range: "bytes=0-0" } }).catch(() => {});
  }
}
